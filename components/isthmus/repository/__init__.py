"""A fleet's repository: signed files (TUF) in a store, the keys that sign them, publishing, refreshing, recovering."""
