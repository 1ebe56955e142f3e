"""The program: what the stack file declares, made."""

import pulumi

from isthmus import stack

declared = stack.read(pulumi.Config())
made = {
    section: {name: component(name, args) for name, args in declared[section].items()} for section, component in stack.COMPONENTS.items()
}
stack.show_plan(made)
for name, value in stack.outputs(made).items():
    pulumi.export(name, value)
