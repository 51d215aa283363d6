"""`tallystick cluster`: a cluster that survives the loss of any machine, on this machine."""
