"""One example of every phase of each card, window and page, drawn into pictures by `make docs ARGS=gallery`."""
