"""Where a model is in TensorFlow Serving's REST interface, as who asks writes it. Pure."""

from urllib.parse import quote


def model_path(model: str, version: int | None = None) -> str:
    """Of a model; version: None: whichever is served."""
    return f"/v1/models/{quote(model, safe='')}{'' if version is None else f'/versions/{version}'}"


def predict_path(model: str, version: int | None = None) -> str:
    """Of a prediction by it."""
    return f"{model_path(model, version)}:predict"
