"""The processes that compile, and what goes on around them. Nothing here changes a release, so none of it is in the cache key."""
