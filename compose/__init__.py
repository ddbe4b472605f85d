"""A whole cluster on one machine, and the demo that shows it; `compose.node` is what runs inside each node."""
