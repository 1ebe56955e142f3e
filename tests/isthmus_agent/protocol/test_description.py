import json

from isthmus_agent.protocol import Signature, TensorInfo, VersionStatus, render_metadata, render_status, signature_json


def test_status_shows_numbers_as_strings():
    reply = json.loads(render_status([VersionStatus(2, "AVAILABLE"), VersionStatus(1, "END", "NOT_FOUND", "gone")]))
    assert reply == {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
            {"version": "1", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "gone"}},
        ]
    }


def test_metadata_are_in_protobufs_json_form():
    signature = Signature({"x": TensorInfo("float32", (-1, 8, 8, 1), "x")}, {"y": TensorInfo("string", None, "y")})
    reply = json.loads(render_metadata("digits", 3, {"serving_default": signature_json(signature)}))
    assert reply["model_spec"] == {"name": "digits", "version": "3", "signature_name": ""}
    shown = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert shown["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in shown["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "8", "8", "1"]
    assert shown["outputs"]["y"] == {"name": "y", "dtype": "DT_STRING", "tensor_shape": {"dim": [], "unknown_rank": True}}
    assert shown["method_name"] == "tensorflow/serving/predict"
