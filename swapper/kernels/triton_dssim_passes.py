"""What `swapper.kernels.triton_dssim` launches: one pass forward, one backward, and the halving.

A row of a picture, channels innermost, is one vector of W * C values whose neighbours lie C apart.
Each warp takes 32 columns of it and walks down a strip of rows: the taps across are shifted loads,
and what they sum to stays in registers for the last `window` rows, which are the taps down. So
nothing is computed twice but the rows above and below a strip, and all is float32, without the
cost of matrix products that split it into TF32 parts.
"""

from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from swapper.kernels.dssim import C1, C2

FLAT_LIGHT, FLAT_SPREAD = tl.constexpr(C1), tl.constexpr(C2)


@triton.jit  # type: ignore[untyped-decorator]
def _strips(  # type: ignore[no-untyped-def]
    height, width, channels: tl.constexpr, own: tl.constexpr, strips: tl.constexpr,
    columns: tl.constexpr,
):  # fmt: skip
    """Sample, the program's number in it, first row of each strip, pixel and channel by column."""
    runs = tl.cdiv(width * channels, columns)
    programs = runs * tl.cdiv(height, own * strips)
    n, number = tl.program_id(0) // programs, tl.program_id(0) % programs
    top = (number // runs * strips + tl.arange(0, strips)) * own
    e = number % runs * columns + tl.arange(0, columns)
    return n.to(tl.int64), number, top, e // channels, e % channels


@triton.jit  # type: ignore[untyped-decorator]
def _at(pointer, strides, step: tl.constexpr, n, y, x, c):  # type: ignore[no-untyped-def]
    """Where values lie, a row for each strip: strides of sample, row, channel; `step` of pixels."""
    rows = n * strides[0] + y.to(tl.int64) * strides[1]
    return (pointer + rows)[:, None] + (x.to(tl.int64) * step + c.to(tl.int64) * strides[2])[
        None, :
    ]


@triton.jit
def _inside(y, x, height, width):  # type: ignore[no-untyped-def]
    return ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None, :]


@triton.jit
def _weights(pointer, strides, n, y, x, inside):  # type: ignore[no-untyped-def]
    """The mask there, 1 where there is none, 0 outside; strides of sample, row and pixel."""
    weights = tl.where(inside, 1.0, 0.0)
    if pointer is not None:
        rows = n * strides[0] + y.to(tl.int64) * strides[1]
        there = (pointer + rows)[:, None] + (x.to(tl.int64) * strides[2])[None, :]
        weights = tl.load(there, mask=inside, other=0.0).to(tl.float32)
    return weights


@triton.jit  # type: ignore[untyped-decorator]
def _tap(falloff, distance: tl.constexpr):  # type: ignore[no-untyped-def]
    return tl.exp(falloff * (distance * distance))


@triton.jit  # type: ignore[untyped-decorator]
def _window(falloff, window: tl.constexpr):  # type: ignore[no-untyped-def]
    """The taps, not normalised: they are at the borders what is left of them."""
    taps = (_tap(falloff, window // 2),)
    for tap in tl.static_range(1, window):
        taps = taps + (_tap(falloff, tap - window // 2),)  # type: ignore[assignment]  # noqa: RUF005
    return taps


@triton.jit
def _over(norm):  # type: ignore[no-untyped-def]
    """One over a sum of taps; there are none only around places outside."""
    return 1.0 / tl.where(norm > 0, norm, 1.0)


@triton.jit  # type: ignore[untyped-decorator]
def _share(place, length, taps, window: tl.constexpr):  # type: ignore[no-untyped-def]
    """One over the sum of those taps around each place that fall on [0, length)."""
    norm = tl.zeros(place.shape, tl.float32)
    for tap in tl.static_range(window):
        there = place + (tap - window // 2)
        norm += tl.where((there >= 0) & (there < length), taps[tap], 0.0)
    return _over(norm)


@triton.jit  # type: ignore[untyped-decorator]
def _zeros(shape: tl.constexpr, window: tl.constexpr):  # type: ignore[no-untyped-def]
    rows = (tl.zeros(shape, tl.float32),)
    for _ in tl.static_range(1, window):
        rows = rows + (tl.zeros(shape, tl.float32),)  # type: ignore[assignment]  # noqa: RUF005
    return rows


@triton.jit
def _push(rows, row):  # type: ignore[no-untyped-def]
    """The last rows, when one more has come."""
    return rows[1:] + (row,)  # noqa: RUF005


@triton.jit  # type: ignore[untyped-decorator]
def _down(rows, taps, window: tl.constexpr):  # type: ignore[no-untyped-def]
    """Weighted sum of the last rows."""
    total = rows[0] * taps[0]
    for tap in tl.static_range(1, window):
        total = tl.fma(rows[tap], taps[tap], total)
    return total


@triton.jit  # type: ignore[untyped-decorator]
def _across(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, y, pixel, height, width, taps,
    x_step: tl.constexpr, y_step: tl.constexpr, window: tl.constexpr, centre: tl.constexpr,
):  # fmt: skip
    """Weighted sums across of x, y, x * x + y * y and x * y, pictures centred at 0."""
    mean_x = tl.zeros(x_ptr.shape, tl.float32)
    mean_y = tl.zeros(x_ptr.shape, tl.float32)
    squares = tl.zeros(x_ptr.shape, tl.float32)
    product = tl.zeros(x_ptr.shape, tl.float32)
    for shift in tl.static_range(-(window // 2), window // 2 + 1):
        weight = taps[shift + window // 2]
        inside = _inside(y, pixel + shift, height, width)
        a = tl.load(x_ptr + shift * x_step, mask=inside, other=centre).to(tl.float32) - centre
        b = tl.load(y_ptr + shift * y_step, mask=inside, other=centre).to(tl.float32) - centre
        mean_x = tl.fma(a, weight, mean_x)
        mean_y = tl.fma(b, weight, mean_y)
        # Without a fused step here equal pictures have a covariance that equals their variance.
        squares = tl.fma(a * a + b * b, weight, squares)
        product = tl.fma(a * b, weight, product)
    return mean_x, mean_y, squares, product


@triton.jit
def _compare(mean_x, mean_y, squares, product):  # type: ignore[no-untyped-def]
    """DSSIM of a window's moments, and its derivatives by x's mean, by x * x twice, by x * y."""
    light_x, light_y = mean_x + 0.5, mean_y + 0.5
    light = 1.0 / (light_x * light_x + light_y * light_y + FLAT_LIGHT)
    luminance = (2.0 * light_x * light_y + FLAT_LIGHT) * light
    spread = 1.0 / (squares - (mean_x * mean_x + mean_y * mean_y) + FLAT_SPREAD)
    structure = (2.0 * (product - mean_x * mean_y) + FLAT_SPREAD) * spread
    by_product = -luminance * spread
    by_square = -by_product * structure
    by_mean = structure * (luminance * light_x - light_y) * light
    by_mean -= by_product * mean_y + by_square * mean_x
    return 0.5 - 0.5 * luminance * structure, by_mean, by_square, by_product


@triton.jit(do_not_specialize=["scale"])  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, weight_ptr, planes_ptr, sums_ptr, scale, falloff, size, x_strides, y_strides,
    weight_strides, plane, sums_strides,
    x_step: tl.constexpr, y_step: tl.constexpr, channels: tl.constexpr, own: tl.constexpr,
    strips: tl.constexpr, columns: tl.constexpr, window: tl.constexpr, centre: tl.constexpr,
    unroll: tl.constexpr,
):  # fmt: skip
    """Weighted DSSIM, weighted L1 and weights, summed; and the planes, if wanted."""
    height, width = size[0], size[1]
    n, number, top, pixel, channel = _strips(height, width, channels, own, strips, columns)
    taps = _window(falloff, window)
    norm_across = _share(pixel, width, taps, window)[None, :]
    x_at = _at(x_ptr, x_strides, x_step, n, top - window // 2, pixel, channel)
    y_at = _at(y_ptr, y_strides, y_step, n, top - window // 2, pixel, channel)
    mean_x = _zeros((strips, columns), window)
    mean_y, squares, product, in_picture = mean_x, mean_x, mean_x, mean_x
    dssim_sum = tl.zeros((strips, columns), tl.float32)
    l1_sum, weight_sum = dssim_sum, dssim_sum
    for step in tl.range(own + window - 1, loop_unroll_factor=unroll):
        last = top + (step - window // 2)  # of the rows so far
        a, b, c, d = _across(
            x_at, y_at, last, pixel, height, width, taps, x_step, y_step, window, centre
        )
        mean_x, mean_y = _push(mean_x, a), _push(mean_y, b)
        squares, product = _push(squares, c), _push(product, d)
        in_picture = _push(in_picture, tl.where(_inside(last, pixel, height, width), 1.0, 0.0))
        if step >= window - 1:
            y = last - window // 2
            inside = _inside(y, pixel, height, width)
            weights = _weights(weight_ptr, weight_strides, n, y, pixel, inside)
            if centre > 0:  # only the first scale is not centred yet, and only it has L1
                l1_sum += weights * _difference(x_at, y_at, x_strides, y_strides, inside, window)
            norm = norm_across * _over(_down(in_picture, taps, window))
            dssim, by_mean, by_square, by_product = _compare(
                _down(mean_x, taps, window) * norm,
                _down(mean_y, taps, window) * norm,
                _down(squares, taps, window) * norm,
                _down(product, taps, window) * norm,
            )
            # Not a product: outside, where the weight is 0, pictures may hold anything.
            dssim_sum += tl.where(inside, dssim * weights, 0.0)
            weight_sum += weights
            if planes_ptr is not None:
                norm *= weights
                strides = (height * width * channels, width * channels, 1)
                there = _at(planes_ptr, strides, channels, n, y, pixel, channel)
                tl.store(there, by_mean * norm, mask=inside)
                tl.store(there + plane, by_square * norm, mask=inside)
                tl.store(there + 2 * plane, by_product * norm, mask=inside)
        x_at += x_strides[1]
        y_at += y_strides[1]
    sums_ptr += n * sums_strides[0] + scale * sums_strides[1] + number * 3
    tl.store(sums_ptr, tl.sum(dssim_sum))
    tl.store(sums_ptr + 1, tl.sum(l1_sum))
    tl.store(sums_ptr + 2, tl.sum(weight_sum))


@triton.jit  # type: ignore[untyped-decorator]
def _difference(  # type: ignore[no-untyped-def]
    x_at, y_at, x_strides, y_strides, inside, window: tl.constexpr
):  # fmt: skip
    """``|x - y|`` of the row that half a window lies above."""
    x = tl.load(x_at - (window // 2) * x_strides[1], mask=inside, other=0.0).to(tl.float32)
    y = tl.load(y_at - (window // 2) * y_strides[1], mask=inside, other=0.0).to(tl.float32)
    return tl.abs(x - y)


@triton.jit  # type: ignore[untyped-decorator]
def _of_coarser(  # type: ignore[no-untyped-def]
    pointer, n, y, pixel, channel, height, width, inside, channels: tl.constexpr
):  # fmt: skip
    """Each pixel's part of the gradient by the mean that it went into."""
    h, w = (height + 1) // 2, (width + 1) // 2
    strides = (h * w * channels, w * channels, 1)
    there = _at(pointer, strides, channels, n, y // 2, pixel // 2, channel)
    down = tl.where(y // 2 * 2 + 1 < height, 0.5, 1.0)
    along = tl.where(pixel // 2 * 2 + 1 < width, 0.5, 1.0)
    return tl.load(there, mask=inside, other=0.0) * down[:, None] * along[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def _spread(  # type: ignore[no-untyped-def]
    pointer, plane, y, pixel, height, width, taps, channels: tl.constexpr, window: tl.constexpr
):  # fmt: skip
    """Weighted sums across of the three planes."""
    first = tl.zeros(pointer.shape, tl.float32)
    second = tl.zeros(pointer.shape, tl.float32)
    third = tl.zeros(pointer.shape, tl.float32)
    for shift in tl.static_range(-(window // 2), window // 2 + 1):
        weight = taps[shift + window // 2]
        inside = _inside(y, pixel + shift, height, width)
        there = pointer + shift * channels
        first = tl.fma(tl.load(there, mask=inside, other=0.0), weight, first)
        second = tl.fma(tl.load(there + plane, mask=inside, other=0.0), weight, second)
        third = tl.fma(tl.load(there + 2 * plane, mask=inside, other=0.0), weight, third)
    return first, second, third


@triton.jit(do_not_specialize=["scale"])  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    planes_ptr, x_ptr, y_ptr, weight_ptr, coarser_ptr, dssim_ptr, l1_ptr, share_ptr, grad_ptr,
    scale, falloff, size, x_strides, y_strides, weight_strides, grad_strides, plane, dssim_stride,
    l1_stride,
    scales: tl.constexpr, x_step: tl.constexpr, y_step: tl.constexpr, grad_step: tl.constexpr,
    channels: tl.constexpr, own: tl.constexpr, strips: tl.constexpr, columns: tl.constexpr,
    window: tl.constexpr, centre: tl.constexpr, unroll: tl.constexpr,
):  # fmt: skip
    """Gradient by x: of this scale's DSSIM, of the coarser scales, and of L1."""
    height, width = size[0], size[1]
    n, _, top, pixel, channel = _strips(height, width, channels, own, strips, columns)
    taps = _window(falloff, window)
    share = tl.load(share_ptr + n * scales + scale)
    of_dssim = tl.load(dssim_ptr + n * dssim_stride) * share * (1.0 / scales)
    of_l1 = tl.load(l1_ptr + n * l1_stride) * share
    strides = (height * width * channels, width * channels, 1)
    at = _at(planes_ptr, strides, channels, n, top - window // 2, pixel, channel)
    first = _zeros((strips, columns), window)
    second, third = first, first
    for step in tl.range(own + window - 1, loop_unroll_factor=unroll):
        last = top + (step - window // 2)
        a, b, c = _spread(at, plane, last, pixel, height, width, taps, channels, window)
        first, second, third = _push(first, a), _push(second, b), _push(third, c)
        if step >= window - 1:
            y = last - window // 2
            inside = _inside(y, pixel, height, width)
            there = _at(x_ptr, x_strides, x_step, n, y, pixel, channel)
            a = tl.load(there, mask=inside, other=0.0).to(tl.float32)
            there = _at(y_ptr, y_strides, y_step, n, y, pixel, channel)
            b = tl.load(there, mask=inside, other=0.0).to(tl.float32)
            grad = tl.fma(_down(second, taps, window), a - centre, _down(first, taps, window))
            grad = tl.fma(_down(third, taps, window), b - centre, grad) * of_dssim
            if coarser_ptr is not None:
                grad += _of_coarser(
                    coarser_ptr, n, y, pixel, channel, height, width, inside, channels
                )
            if centre > 0:
                weights = _weights(weight_ptr, weight_strides, n, y, pixel, inside)
                grad += (tl.where(a > b, 1.0, 0.0) - tl.where(a < b, 1.0, 0.0)) * weights * of_l1
            there = _at(grad_ptr, grad_strides, grad_step, n, y, pixel, channel)
            tl.store(there, grad.to(grad_ptr.dtype.element_ty), mask=inside)
        at += width * channels


@triton.jit
def _mean(pointer, strides, n, y, x, c, height, width, inside, centre):  # type: ignore[no-untyped-def]
    """Means of those pixels of 2x2 that there are, minus `centre`."""
    pointer += n * strides[0] + (2 * y).to(tl.int64) * strides[1]
    pointer += (2 * x).to(tl.int64) * strides[2] + c.to(tl.int64) * strides[3]
    below, right = inside & (2 * y + 1 < height), inside & (2 * x + 1 < width)
    total = tl.load(pointer, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(pointer + strides[2], mask=right, other=0.0).to(tl.float32)
    pointer += strides[1]
    total += tl.load(pointer, mask=below, other=0.0).to(tl.float32)
    total += tl.load(pointer + strides[2], mask=below & right, other=0.0).to(tl.float32)
    parts = tl.where(2 * y + 1 < height, 0.5, 1.0) * tl.where(2 * x + 1 < width, 0.5, 1.0)
    return total * parts - centre


@triton.jit  # type: ignore[untyped-decorator]
def _halve(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, weight_ptr, half_x_ptr, half_y_ptr, half_weight_ptr, size,
    x_strides, y_strides, weight_strides,
    channels: tl.constexpr, centre: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Both pictures and the mask at half their size, dense, channels innermost."""
    height, width = size[0], size[1]
    w = (width + 1) // 2
    pixels = (height + 1) // 2 * w
    blocks = tl.cdiv(pixels * channels, block)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    e = tl.program_id(0) % blocks * block + tl.arange(0, block)
    inside = e < pixels * channels
    p, c = e // channels, e % channels
    y, x = p // w, p % w
    there = n * pixels * channels + e
    value = _mean(x_ptr, x_strides, n, y, x, c, height, width, inside, centre)
    tl.store(half_x_ptr + there, value, mask=inside)
    value = _mean(y_ptr, y_strides, n, y, x, c, height, width, inside, centre)
    tl.store(half_y_ptr + there, value, mask=inside)
    if weight_ptr is not None:
        inside = inside & (c == 0)
        value = _mean(weight_ptr, weight_strides, n, y, x, c, height, width, inside, 0.0)
        tl.store(half_weight_ptr + n * pixels + p, value, mask=inside)
