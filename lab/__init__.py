"""The lab: makes mail incidents with a real Exim, the kernel's own TCP and a misbehaving router."""
