import environment
environment.setup()
