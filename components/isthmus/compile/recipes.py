"""What a recipe is called and what it does to the edge variant. How it does it is in `edge`, in the worker."""

# The serving variant is a float32 SavedModel under every recipe: servers have the memory, and TensorFlow Serving has no
# int8 kernels for SavedModels.
RECIPES: dict[str, str] = {
    "float32": "weights and arithmetic as they were trained",
    "float16": "weights stored in 16 bits, computed in 32: half the size",
    "int8": "weights in 8 bits, one scale per channel; activations quantised as they come: about a quarter of the size",
}
