"""The Serf agent: its RPC as bytes (`protocol`), as a conversation (`session`), on a socket (`client`), and seeds."""
