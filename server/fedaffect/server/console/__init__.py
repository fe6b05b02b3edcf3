"""The operators' side of the server's page: accounts, the fleet as it learns, run folders of simulations."""
