"""Who worked with whom: the graph of that, and its picture."""
