"""What runs inside a node beside its programs. Standard library only: a web node's image carries nothing else.

`serf_agent`, `syslog_receiver` and `wait_for_file` are programs that supervisord starts with `python -m`, told by
environment variables and arguments, the same in a container and as a local process. `agent_settings` and `endpoints`
are parts of the first; `state_handler` is run by the agent, and stands alone so that others can take it.
"""
