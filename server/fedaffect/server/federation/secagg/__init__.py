"""The server's side of secure aggregation: it passes sealed messages on, and learns one sum a round.

What is protected, and from whom:

- From a server that follows the protocol but is curious, and from those who read its network: every single
  update, its counts, its loss and its metrics. They see sums over all clients that finished, and who those were.
- From other clients, up to ``threshold - 1`` neighbours of one client who tell the server all they know: the same.
- From a server that breaks the protocol, only in part. A client refuses to reveal both kinds of share about one
  neighbour, to answer a second and different request of any stage, to join another attempt of a round that it
  helped to unmask, and to accept a threshold under two. With a threshold above half of the holders, telling
  neighbours different stories about who dropped out gives the server nothing either. It chooses who takes part and
  passes the public keys on. Devices of a fleet sign theirs, for one attempt, with keys that the fleet's authority
  certified: one that insists goes on with such neighbours alone, so that a server without the authority's private
  key can neither put itself between two devices nor surround one with clients of its own making (sybils). Who holds
  that key, or enrols devices as it likes, can. A simulation's clients sign nothing.
- Not from a client that lies. Nobody sees a single update, so nobody can check its norm: clipping is the
  client's own, and one dishonest client can move a sum as far as the ring's bound lets it (``clip`` for each
  parameter, times the largest weight). Under central differential privacy the bound on sensitivity is therefore
  only as good as the clients' software. The server adds the noise, to the sum, and sees the sum without it.
"""
