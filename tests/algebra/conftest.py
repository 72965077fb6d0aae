from hypothesis import settings

# A slow machine is no failure; the number of examples bounds the time.
settings.register_profile("algebra", deadline=None)
settings.load_profile("algebra")
