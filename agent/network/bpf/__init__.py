"""BPF programs at the sockets of the host: assembled here, loaded and attached by the bpf system call. No compiler is needed.

`assembler` writes instructions and is pure, `syscalls` makes maps, programs and links, `loopback6` leads `[::1]` to published ports.
"""
