"""Models that have seen what they are judged on."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.leakbench.forms import Rule, log_returns
from workbench.validation.leaks import Pipeline

HORIZON = 6
TRAIN, TEST = 480, 120
SPANS = (1, 3, 6, 12, 24, 48)


def _features(market):
    close = np.log(market.close.iloc[:, 0].ffill())
    table = {f"return_{n}": close.diff(n) for n in SPANS}
    table |= {f"spread_{n}": close.diff().rolling(n).std() for n in (12, 48)}
    table |= {f"volume_{n}": market.volume.iloc[:, 0].ffill().pct_change(n) for n in (1, 24)}
    return pd.DataFrame(table).replace([np.inf, -np.inf], np.nan).fillna(0.0)


def _labels(market):
    close = np.log(market.close.iloc[:, 0].ffill())
    return (close.shift(-HORIZON) - close).rename("label")


def _walk(features, labels, predict, purge=HORIZON):
    """Refit every TEST rows on the TRAIN rows before, without those whose label is not known."""
    said = pd.Series(np.nan, features.index)
    for start in range(TRAIN + purge, len(features), TEST):
        train = slice(start - TRAIN - purge, start - purge)
        test = slice(start, start + TEST)
        rows = labels.iloc[train].notna().to_numpy()
        x, y = features.iloc[train][rows], labels.iloc[train][rows]
        said.iloc[test] = predict(x, y, features.iloc[test], labels.iloc[test])
    return said.to_frame("said")


def _ridge(x, y, x_test, _):
    return Ridge(1.0).fit(x, y).predict(x_test)


def scaled_before_split_leak(market):
    """The scaler has seen every test row before the first split is made."""
    features = _features(market)
    scaled = pd.DataFrame(StandardScaler().fit_transform(features), features.index)
    return _walk(scaled, _labels(market), _ridge)


def scaled_before_split_clean(market):
    def predict(x, y, x_test, _):
        return make_pipeline(StandardScaler(), Ridge(1.0)).fit(x, y).predict(x_test)

    return _walk(_features(market), _labels(market), predict)


def components_leak(market):
    """The principal components are those of the sample."""
    features = _features(market)
    parts = pd.DataFrame(PCA(3, svd_solver="full").fit_transform(features), features.index)
    return _walk(parts, _labels(market), _ridge)


def components_clean(market):
    def predict(x, y, x_test, _):
        return make_pipeline(PCA(3, svd_solver="full"), Ridge(1.0)).fit(x, y).predict(x_test)

    return _walk(_features(market), _labels(market), predict)


def _best(features, labels, count=2):
    table = np.column_stack([features, labels])[labels.notna().to_numpy()]
    strength = np.abs(np.corrcoef(table, rowvar=False)[-1, :-1])
    return features.columns[np.argsort(-strength)[:count]]


def selected_outside_leak(market):
    """The features that work are selected on the sample, then cross-validated."""
    features, labels = _features(market), _labels(market)
    return _walk(features[_best(features, labels)], labels, _ridge)


def selected_outside_clean(market):
    def predict(x, y, x_test, _):
        chosen = _best(x, y)
        return _ridge(x[chosen], y, x_test[chosen], None)

    return _walk(_features(market), _labels(market), predict)


def target_encoding_leak(market):
    """Every hour of the day becomes the mean of its labels over the sample."""
    labels = _labels(market)
    return labels.groupby(labels.index.hour).transform("mean").to_frame("hour")


def target_encoding_clean(market):
    known = _labels(market).shift(HORIZON)
    hour = (known.index - pd.Timedelta(hours=HORIZON)).hour
    table = pd.DataFrame({h: known.where(hour == h).expanding().mean() for h in range(24)})
    return table.ffill().to_numpy()[np.arange(len(known)), known.index.hour].reshape(-1, 1) * (
        pd.DataFrame({"hour": np.ones(len(known))}, known.index)
    )


def unpurged_leak(market):
    """The last labels to learn from end inside the test."""
    return _walk(_features(market), _labels(market), _ridge, purge=0)


def unpurged_clean(market):
    return _walk(_features(market), _labels(market), _ridge, purge=HORIZON)


def shuffled_folds_leak(market):
    """Out-of-fold predictions of shuffled folds: learnt from the hours before and after."""
    features, labels = _features(market), _labels(market)
    rows = labels.notna().to_numpy()
    folds = KFold(5, shuffle=True, random_state=0)
    said = cross_val_predict(Ridge(1.0), features[rows], labels[rows], cv=folds)
    return pd.DataFrame({"said": said}, features.index[rows])


def shuffled_folds_clean(market):
    return _walk(_features(market), _labels(market), _ridge)


def early_stopping_leak(market):
    """Training stops where the error on the test is smallest."""

    def predict(x, y, x_test, y_test):
        known = y_test.notna().to_numpy()
        paths = _descent(x, y, x_test)
        errors = [((p[known] - y_test[known]) ** 2).sum() for p in paths]
        return paths[int(np.argmin(errors))]

    return _walk(_features(market), _labels(market), predict)


def early_stopping_clean(market):
    def predict(x, y, x_test, _):
        # The last fifth of the training rows decides, a label's reach apart.
        cut = 4 * len(x) // 5
        fit, held = slice(cut - HORIZON), slice(cut, None)
        paths = _descent(x.iloc[fit], y.iloc[fit], x.iloc[held])
        errors = [((p - y.iloc[held]) ** 2).sum() for p in paths]
        return _descent(x.iloc[fit], y.iloc[fit], x_test)[int(np.argmin(errors))]

    return _walk(_features(market), _labels(market), predict)


def _descent(x, y, x_test):
    # Steps of gradient descent on the squared error, and what each would say of the test.
    scale = x.std() + 1e-12
    x, x_test = (x / scale).to_numpy(), (x_test / scale).to_numpy()
    beta, paths = np.zeros(x.shape[1]), []
    for step in range(30):
        beta = beta + 0.05 * x.T @ (y.to_numpy() - x @ beta) / len(x)
        if step % 3 == 0:
            paths.append(x_test @ beta)
    return paths


class BestWindowLeak(Rule):
    """The window with the best Sharpe ratio of the sample is the one that is traded."""

    def weights(self, market):
        returns = log_returns(market)
        sides = {n: np.sign(market.close.diff(n)) for n in (6, 12, 24, 48)}
        earned = {n: (side.shift(1) * returns).stack() for n, side in sides.items()}
        best = max(sides, key=lambda n: earned[n].mean() / earned[n].std())
        return sides[best] / len(market.symbols)


class BestWindowClean(Rule):
    def weights(self, market):
        returns = log_returns(market)
        sides = {n: np.sign(market.close.diff(n)) for n in (6, 12, 24, 48)}
        earned = pd.DataFrame({n: (s.shift(1) * returns).mean(axis=1) for n, s in sides.items()})
        past = earned.rolling(240, min_periods=96)
        best = (past.mean() / past.std()).fillna(-np.inf).idxmax(axis=1)
        table = sum(side.mul(best == n, axis=0).fillna(0.0) for n, side in sides.items())
        return table / len(market.symbols)


class RefitToEndLeak(Rule):
    """Every call fits on all the bars that it is given, and answers for all of them."""

    def weights(self, market):
        features, labels = _features(market), _labels(market)
        rows = labels.notna().to_numpy()
        model = DecisionTreeClassifier(max_depth=3, random_state=0)
        model.fit(features[rows], labels[rows] > 0)
        return _share(model, features, market)


class RefitToEndClean(Rule):
    """Fitted once, on what it was given to learn from."""

    model: DecisionTreeClassifier | None = None

    def fit(self, market):
        features, labels = _features(market), _labels(market)
        rows = labels.notna().to_numpy()
        model = DecisionTreeClassifier(max_depth=3, random_state=0)
        model.fit(features[rows], labels[rows] > 0)
        return self.model_copy(update={"model": model})

    def weights(self, market):
        return _share(self.model, _features(market), market)


def _share(model, features, market):
    chance = model.predict_proba(features)[:, -1] - 0.5
    table = np.outer(chance, np.ones(len(market.symbols))) / len(market.symbols)
    return pd.DataFrame(table, market.index, market.symbols)


class BatchScaler(TransformerMixin, BaseEstimator):
    """Scales what it is given by the mean and deviation of what it is given."""

    def fit(self, x, y=None):
        return self

    def transform(self, x):
        return ((x - x.mean()) / (x.std() + 1e-12)).to_numpy()


def batch_scaler_leak(market):
    """A transformer that fits itself in transform: each batch is scaled by its own future."""
    model = make_pipeline(BatchScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5))
    return _pipeline(market, model)


def batch_scaler_clean(market):
    model = make_pipeline(
        StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)
    )
    return _pipeline(market, model)


def _pipeline(market, model, has_ends=True):
    labels = _labels(market)
    ends = pd.Series(labels.index + HORIZON * market.bar_length, labels.index)
    is_up = (labels > 0).astype(float).where(labels.notna())
    return Pipeline(model, _features(market), is_up, ends if has_ends else None)


class OnceScaler(TransformerMixin, BaseEstimator):
    """Keeps the scale of its first fit."""

    def fit(self, x, y=None):
        if not hasattr(self, "mean_"):
            self.mean_, self.spread_ = x.mean(), x.std() + 1e-12
        return self

    def transform(self, x):
        return ((x - self.mean_) / self.spread_).to_numpy()


class FreshScaler(OnceScaler):
    """Scales by its newest fit."""

    def fit(self, x, y=None):
        self.mean_, self.spread_ = x.mean(), x.std() + 1e-12
        return self


def scaler_fitted_once_leak(market):
    """A scaler that is never fitted twice carries the last fold's future into the first."""
    return _pipeline(
        market,
        make_pipeline(OnceScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)),
    )


def scaler_fitted_once_clean(market):
    return _pipeline(
        market,
        make_pipeline(FreshScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)),
    )


def label_ends_leak(market):
    """Labels are handed over as if each were known at its own row."""
    return _pipeline(
        market, LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5), has_ends=False
    )


def label_ends_clean(market):
    return _pipeline(
        market, LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5), has_ends=True
    )
