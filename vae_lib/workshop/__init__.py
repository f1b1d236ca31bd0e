"""What made the committed weights and results: nothing here is needed to follow the course.

It may import the core; the core never imports it.
"""
