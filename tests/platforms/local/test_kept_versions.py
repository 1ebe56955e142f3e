"""What servers that keep versions are told, as TensorFlow Serving reads it."""

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from isthmus.platforms.local import desired as local
from isthmus.server.config import models_from_proto

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("folder", ["/versions/abc", '/a "quoted" ö folder/é'])
def test_servers_that_keep_versions_load_every_one_that_is_there_and_answer_as_the_release_that_they_are_told_of(folder):
    spec = local.server("server", "digits", folder, 1, f"{folder}/about-2")
    (option,) = [it for it in spec.command if it.startswith("--model_config_file=")]
    assert not [it for it in spec.command if it.startswith(("--model_name", "--model_base_path"))]
    assert spec.ready["golden"] == f"{folder}/about-2"
    name = option.rpartition("/")[2]
    config = text_format.Parse(spec.files[name], model_server_config_pb2.ModelServerConfig())
    (model,) = models_from_proto(config)
    assert (model.name, str(model.base_path), model.policy.choose([1, 2, 5])) == ("digits", folder, {1, 2, 5})
