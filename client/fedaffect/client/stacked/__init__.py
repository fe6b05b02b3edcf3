"""Many clients' models in one: every parameter has a leading dimension of clients, and one pass trains all of them."""
