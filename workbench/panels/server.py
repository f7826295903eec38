"""The panels' own server: Voila over ``apps/``, behind a login, with local files only."""

from __future__ import annotations

import secrets
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_server.auth.identity import IdentityProvider
from tornado.ioloop import IOLoop
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
ARGUMENTS: Final = ("run_id", "verdict_id", "report_id")
"""What an address may name: an id, and nothing else."""
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


class TokenProvider(IdentityProvider):
    """Lets in whoever has the token, in the address or typed into the form.

    The stock provider fails on its own form: it calls a method that it does not have.
    """

    def process_login_form(self, handler: Any) -> Any:
        """Return a user where the form holds the token, else None."""
        typed = handler.get_argument("password", default="")
        if secrets.compare_digest(typed.encode(), self.token.encode()):
            return self.generate_anonymous_user(handler)
        return None


class PanelServer(Voila):  # type: ignore[misc]
    """Voila with the template and the scripts of this package."""

    ready: Callable[[], None] | None = None
    """Called once the server listens."""

    def setup_template_dirs(self) -> None:
        """Put our template before Voila's, and plotly's script among the static files."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(HERE / "template"))
        self.static_paths.append(str(HERE / "static"))
        self.static_paths.append(str(files("plotly") / "package_data"))

    def init_settings(self) -> dict[str, Any]:
        """Show our own page where the server would show Jupyter's login."""
        settings: dict[str, Any] = super().init_settings()
        settings["jinja2_env"].loader.searchpath.insert(0, str(HERE / "template"))
        return settings

    def listen(self) -> None:
        """Serve until the process is stopped.

        Raises
        ------
        ConfigError
            If something else listens there.
        """
        try:
            self.app.listen(self.port, self.ip)
        except OSError as error:
            raise ConfigError(
                f"The panels cannot listen on {self.ip}:{self.port}: {error.strerror}.",
                "Stop what listens there, or choose another port: workbench panels --port 8867.",
            ) from error
        self.ioloop = IOLoop.current()
        if self.ready is not None:
            self.ioloop.add_callback(self.ready)
        try:
            self.ioloop.start()
        finally:
            self.stop()


def serve(
    *,
    apps: Path,
    host: str = "127.0.0.1",
    port: int = 8866,
    token: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the panels until the process is stopped.

    ``ready`` is told the address with the token in it once the server listens there: whoever has it
    may look and command. Without a token of 16 characters or more a new one is made.

    Raises
    ------
    ConfigError
        If there are no panels in the folder, if something else listens on the port, or if the
        address is not one of this machine: there is no encryption here, so a proxy with TLS must
        stand before it.
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
        address = f"http://{host}:{port}/voila/render/runs.ipynb?token={token}"
        server.ready = lambda: ready(address)
    server.start()


def settings(apps: Path, *, host: str, port: int, token: str) -> Traits:
    """Return the settings of the server."""
    traits = Traits()
    traits.Voila.ip = host
    traits.Voila.port = port
    # What people must know is said by the command; the rest of the log is Jupyter's.
    traits.Voila.log_level = "ERROR"
    traits.Voila.root_dir = str(apps)
    traits.Voila.open_browser = False
    traits.Voila.token = token
    traits.Voila.cookie_secret = secrets.token_bytes(32)
    traits.Voila.identity_provider_class = TokenProvider
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
    given = {name: request.get_argument(name, "") for name in ARGUMENTS}
    lines = [
        f"{name.upper()} = {value!r}"
        for name, value in given.items()
        if value and set(value) <= set("0123456789abcdef-")
    ]
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = "\n".join([cell.source, *lines])
    return notebook
