"""`python -m aria_ray` is `aria`."""

from aria_ray.cli import main

if __name__ == "__main__":
    main()
