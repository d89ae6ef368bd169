"""Do the parts of a scene agree: cameras, poses, points, what photos observed, and the photos."""
