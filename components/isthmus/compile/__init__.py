"""From a model source to a release: compile, compress, measure.

`check_request` finds what is wrong without running anything; `compile_release` gives the release, out of the cache
where its content was compiled before, and otherwise from a worker process. Only that worker imports TensorFlow.
"""

from isthmus.compile.gate import check_accuracy
from isthmus.compile.recipes import RECIPES
from isthmus.compile.request import CompileRequest, check_request
from isthmus.compile.run import compile_release

__all__ = ["RECIPES", "CompileRequest", "check_accuracy", "check_request", "compile_release"]
