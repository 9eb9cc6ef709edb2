"""Named volumes of this host: folders with a label file beside them. The local driver is the only one."""
