"""Writes this folder's files with Pillow (9.4 was used): run it here to make them anew.

NAME.in.*      what read_image is given
NAME.rgb.png   Pillow's convert("RGB") of it, composed over black where it has transparency
NAME.grey.png  convert("L") of that
WxH.png        scene.in.png resized with Image.BILINEAR
"""
import io
import math
import random

from PIL import Image


def scene(width, height):
    """Edges, gradients and noise: what a resize can get wrong."""
    rng = random.Random(1)
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            disc = math.hypot(x - width * 0.4, y - height * 0.55) < height * 0.3
            checks = 255 * ((x // 3 + y // 5) % 2)
            image.putpixel((x, y), (230 if disc else checks, x * 255 // width, rng.randrange(256)))
    return image


def expected(image, name):
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    rgb = image.convert("RGB")
    rgb.save(f"{name}.rgb.png", optimize=True)
    (image if image.mode == "L" else rgb).convert("L").save(f"{name}.grey.png", optimize=True)


def given(image, name, ending, **how):
    image.save(f"{name}.in.{ending}", **how)
    expected(Image.open(f"{name}.in.{ending}"), name)


full = scene(61, 47)
small = full.resize((23, 17), Image.BILINEAR)
given(full, "scene", "png", optimize=True)
given(small, "rgb", "jpg", quality=90)
given(small, "progressive", "jpg", quality=80, progressive=True, subsampling=0)
given(small.convert("L"), "grey_jpeg", "jpg", quality=90)
given(small.convert("CMYK"), "cmyk", "jpg", quality=90)
given(small.convert("L"), "grey", "png")
given(small.quantize(16), "palette", "png", bits=4)
given(small.convert("1"), "bits", "png")
alpha = small.convert("RGBA")
alpha.putalpha(Image.linear_gradient("L").resize(small.size))
given(alpha, "rgba", "png")
given(alpha.convert("LA"), "la", "png")
transparent = small.quantize(16)
transparent.save("transparent.in.png", transparency=bytes(range(0, 256, 16)))
expected(Image.open("transparent.in.png"), "transparent")
for size in ((30, 22), (96, 33), (13, 90), (61, 9), (7, 47), (1, 1), (122, 94)):
    full.resize(size, Image.BILINEAR).save("%dx%d.png" % size, optimize=True)
