"""A Flower app that knows nothing of fedaffect."""
