"""The panels' own server: Voila over ``apps/``, behind a login, with local files only."""

from __future__ import annotations

import secrets
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.identity import IdentityProvider
from tornado.web import HTTPError
from traitlets.config import Config as Traits
from voila.app import Voila

from workbench.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

HERE: Final = Path(__file__).parent
MAX_KERNELS: Final = 12
"""Panels open at once; each is a kernel of about 100 MB."""
IDLE_S: Final = 60
EXTENSIONS: Final = (
    "@voila-dashboards/widgets-manager8",
    "@jupyter-widgets/jupyterlab-manager",
    "anywidget",
)
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'self'; base-uri 'self'; form-action 'self'; "
    "object-src 'none'"
)


class PanelServer(Voila):  # type: ignore[misc]
    """Voila with the template and the scripts of this package."""

    def setup_template_dirs(self) -> None:
        """Put our template before Voila's, and plotly's script among the static files."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(HERE / "template"))
        self.static_paths.append(str(HERE / "static"))
        self.static_paths.append(str(files("plotly") / "package_data"))


def serve(
    *,
    apps: Path,
    host: str = "127.0.0.1",
    port: int = 8866,
    token: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the panels until the process is stopped.

    ``ready`` is told the address with the token in it, once: whoever has it may look and command.
    Without a token of 16 characters or more a new one is made.

    Raises
    ------
    ConfigError
        If there are no panels in the folder, or the address is not one of this machine: there is
        no encryption here, so a proxy with TLS must stand before it.
    """
    if not any(apps.glob("*.ipynb")):
        raise ConfigError(f"There is no panel in {apps}.", "Run it in the project's folder.")
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(
            f"Panels would listen on {host}, without encryption.",
            "Keep panels.host at 127.0.0.1 and put a proxy with TLS before it.",
        )
    token = token or secrets.token_urlsafe(24)
    server = PanelServer(config=settings(apps, host=host, port=port, token=token))
    server.initialize([])
    server.notebook_path = None
    if ready is not None:
        ready(f"http://{host}:{port}/voila/render/runs.ipynb?token={token}")
    server.start()


def settings(apps: Path, *, host: str, port: int, token: str) -> Traits:
    """Return the settings of the server."""
    traits = Traits()
    traits.Voila.ip = host
    traits.Voila.port = port
    traits.Voila.port_retries = 0
    traits.Voila.root_dir = str(apps)
    traits.Voila.open_browser = False
    traits.Voila.token = token
    traits.Voila.cookie_secret = secrets.token_bytes(32)
    traits.Voila.identity_provider_class = IdentityProvider
    traits.Voila.tornado_settings = {
        "headers": {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        },
        "xsrf_cookies": True,
    }
    own = traits.VoilaConfiguration
    own.template = "lab"
    own.theme = "dark"
    own.allow_template_override = "NO"
    own.allow_theme_override = "NO"
    own.strip_sources = True
    own.show_tracebacks = False
    own.file_allowlist = []
    own.extension_allowlist = list(EXTENSIONS)
    own.prelaunch_hook = prepare
    traits.MappingKernelManager.cull_idle_timeout = IDLE_S
    traits.MappingKernelManager.cull_interval = 20
    return traits


def prepare(request: Any, notebook: Any, cwd: str) -> Any:
    """Prepare one opening of a panel: bound the kernels and take parameters from the address."""
    # Without the cookie that this sets, the page cannot tell the server to shut its kernel down.
    _ = request.xsrf_token
    if len(request.kernel_manager.list_kernel_ids()) >= MAX_KERNELS:
        raise HTTPError(503, f"{MAX_KERNELS} panels are open already: close one.")
    run_id = request.get_argument("run_id", "")
    if run_id and all(letter in "0123456789abcdef-" for letter in run_id):
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = f"RUN_ID = {run_id!r}"
    return notebook
