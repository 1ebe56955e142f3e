"""The jobs of a compile: export, convert, prove, measure, choose, assemble. They run in a worker."""
