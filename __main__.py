"""The program: what the stack file declares, made."""

import pulumi

from isthmus import stack

made = stack.make(stack.read(pulumi.Config()))
stack.show_plan(made)
for name, value in stack.outputs(made).items():
    pulumi.export(name, value)
