"""A variant for devices cut in two at every place that allows it: the halves as files, and what they were measured to do."""
