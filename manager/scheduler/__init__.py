"""The scheduler: places tasks on nodes by filters, which count their refusals, and a spread ranking. Pure; run by ``manager.leader``."""
