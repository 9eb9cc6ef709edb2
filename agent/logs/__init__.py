"""What containers wrote: conmon's log files, read back as entries. Reads only; conmon alone writes them."""
