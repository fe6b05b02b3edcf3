"""A client's side of secure aggregation: the server learns the sum of a round's updates and no summand.

The protocol is that of Bonawitz et al. (CCS 2017) over the sparse graph of neighbours of Bell et al. (CCS 2020,
"SecAgg+"): four messages to each client, ``keys``, ``shares``, ``masked`` and ``unmask``. What happens in each
is a pure function in :mod:`fedaffect.client.secagg.protocol`; nothing here knows Flower, files or networks.
"""
