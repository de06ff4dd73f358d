"""What people and programs touch: settings and the command line. Start at `cli`."""
