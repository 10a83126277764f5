import warnings


def warn(text): warnings.warn(text, stacklevel=2)
class OurWarning(UserWarning): pass
