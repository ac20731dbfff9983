"""The demo: a small real project, a plan with every kind of trouble in it, and a run of both."""
