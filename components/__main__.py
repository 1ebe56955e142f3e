"""The Isthmus plugin, as the engine starts it: this folder is run by a Python language host."""

from isthmus.provider.main import main

main()
