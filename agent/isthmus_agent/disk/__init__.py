"""What a device keeps on disk, so that no crash, power cut or damage leaves it in need of a visit.

    ROOT/
      mark-a mark-b      two copies of what the core keeps (`core.state.Kept`), each with its checksum
      slots/HEX          a content in its plain form, one file, named by its sha256; complete from the moment it has this name
      slots/HEX.note     which assignment it came with
      slots/number       the highest number that was seen: a witness apart from the marks
      parts/NAME         what there is of a download; gone on from after a restart
      reports/NUMBER     a report that was not sent yet

There are no links: what is current stands in the marks, so that nothing can be restored without it. Each step is made durable before the
next relies on it: write, sync the file, rename, sync the folder. Whatever is not what it ought to be (of another kind, torn, dangling) is
removed and made anew; only what could not be made anew is missed, and `opening.opened` says what then holds.
"""
