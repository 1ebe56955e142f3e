"""A small Python language host, used where the official `pulumi-language-python` cannot be had.

It speaks the same `pulumirpc.LanguageRuntime` protocol and honours the same `runtime.options` (`virtualenv`,
`toolchain: pip | uv`, `typechecker`), so a project runs unchanged with either host. Code generation (`convert`,
`package add`) and debuggers are the official host's alone.
"""
