"""Watch: the live service. Facts come in, grades go out, people see who is getting worse."""
