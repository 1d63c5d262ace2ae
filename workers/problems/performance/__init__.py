"""The memory allocator: its problem, its policy, the heap, and models of allocations."""
