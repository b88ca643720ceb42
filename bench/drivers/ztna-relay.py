"""This project with the direct path blocked from the start."""
import importlib.util
import os

spec = importlib.util.spec_from_file_location("ztna", os.path.join(os.path.dirname(__file__), "ztna.py"))
ztna = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ztna)


class Driver(ztna.Driver):
    name = "ztna-relay"
    block_direct = True
    note = "direct path blocked except in the failover test"
