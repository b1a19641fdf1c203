"""A long run of the node under everything that happens to it on a robot."""
