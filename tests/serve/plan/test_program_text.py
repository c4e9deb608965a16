from serve.plan.program_text import Copy, Exchange, ProgramText, read_program

# As the compiler writes it, shortened: types with their layouts, S(1) for the core's own memory.
PROGRAM = """\
HloModule jit_decode, is_scheduled=true

%add (x.1: f32[], y.1: f32[]) -> f32[] {
  %x.1 = f32[]{:T(128)} parameter(0)
  ROOT %add.1 = f32[]{:T(128)} add(%x.1, %y.1)
}

%inner (p.1: bf16[8,128]) -> bf16[8,128] {
  ROOT %fusion.9 = bf16[8,128]{1,0:T(8,128)(2,1)} fusion(%p.1), kind=kOutput, calls=%deep, \
backend_config={"window_config":{"estimated_cycles":"40"}}
}

%body (state.1: (s32[], bf16[8,128])) -> (s32[], bf16[8,128]) {
  %fusion.2 = bf16[8,128]{1,0:T(8,128)(2,1)} fusion(%state.1), kind=kLoop, calls=%any, \
backend_config={"window_config":{"estimated_cycles":"7"}}
  ROOT %all-to-all.1 = bf16[8,128]{1,0:T(8,128)(2,1)} all-to-all(%fusion.2), channel_id=9
}

%condition (state.2: (s32[], bf16[8,128])) -> pred[] {
  ROOT %compare.1 = pred[]{:T(512)} compare(%a, %b), direction=LT
}

%summed (p.3: bf16[8,128]) -> bf16[8,128] {
  ROOT %offloaded.1 = bf16[8,128]{1,0} custom-call(%p.3), custom_call_target="X", \
called_computations={%core}
}

%core (p.4: bf16[8,128]) -> bf16[8,128] {
  ROOT %all-reduce.7 = bf16[8,128]{1,0} all-reduce(%p.3), to_apply=%add
}

ENTRY %main.3 (p.0: bf16[8,128], p.2: bf16[16,256]) -> bf16[8,128] {
  %p.0 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %copy-start.1 = (bf16[16,256]{1,0:T(8,128)(2,1)S(1)}, bf16[16,256]{1,0:T(8,128)(2,1)}, \
u32[]{:S(2)}) copy-start(%p.2), cross_program_prefetch_index=0
  %fusion.1 = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} fusion(%p.0), kind=kOutput, calls=%x, \
backend_config={"window_config":{"cost_model_type":"X","estimated_cycles":"1000"}}
  %nested.1 = bf16[8,128]{1,0} fusion(%p.0), kind=kCustom, calls=%inner
  %unknown.1 = s32[32]{0:T(128)} fusion(%p.0), kind=kCustom, calls=%y, \
backend_config={"window_config":{"estimated_cycles":"9223372036854775807"}}
  %copy.4 = f32[4,64]{1,0:T(4,128)} copy(%p.0), backend_config={"x":{"estimated_cycles":"300"}}
  %kernel.1 = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} custom-call(%p.0), \
custom_call_target="tpu_custom_call", operand_layout_constraints={s32[64]{0}}
  %other.1 = bf16[8,128]{1,0} custom-call(%p.0), custom_call_target="ConcatBitcast"
  %all-reduce.1 = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} all-reduce(%fusion.1), to_apply=%add
  %gather.1 = (f32[2,8]{1,0}, f32[4,8]{1,0}) all-gather-start(%p.0), dimensions={0}
  %sum-start.1 = ((bf16[8,128]{1,0}), bf16[8,128]{1,0}, /*index=2*/s32[8]{0}) async-start(%p.0), \
calls=%summed
  %sum-done.1 = bf16[8,128]{1,0} async-done(%sum-start.1), calls=%summed
  %while.1 = (s32[], bf16[8,128]{1,0}) while(%tuple.1), condition=%condition, body=%body
  ROOT %while.2 = (s32[], bf16[8,128]{1,0}) while(%tuple.1), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
}
"""


def test_cycles_are_summed_and_loops_counted_as_often_as_they_run():
    # 1000 + 40 within a fusion + 300 of the copy; the loops run 5 and 3 times 7.
    program = read_program(PROGRAM, loop_trips=[5])
    assert program.cycles == 1000 + 40 + 300 + 5 * 7 + 3 * 7
    assert program.unknown == 1


NESTED = """\
%turn (p: s32[]) -> s32[] {
  ROOT %fusion.1 = s32[] fusion(%p), backend_config={"estimated_cycles":"10"}
}

%block (p: s32[]) -> s32[] {
  %while.1 = s32[] while(%p), condition=%condition, body=%turn
  ROOT %while.2 = s32[] while(%p), condition=%condition, body=%turn, \
backend_config={"known_trip_count":{"n":"3"}}
}

ENTRY %main (p: s32[]) -> s32[] {
  ROOT %while.3 = s32[] while(%p), condition=%condition, body=%block
}
"""


def test_loops_within_others_have_rounds_of_their_own():
    assert read_program(NESTED, loop_trips=[2, 7]).cycles == 2 * (7 + 3) * 10
    assert read_program(NESTED, loop_trips=[2]).cycles == 2 * (2 + 3) * 10


def test_kernels_are_those_that_are_written_by_hand():
    assert read_program(PROGRAM).kernels == 1


def test_exchanges_with_the_bytes_of_their_result():
    exchanges = read_program(PROGRAM, loop_trips=[2]).exchanges
    assert exchanges[:2] == (Exchange("all-reduce", 2048), Exchange("all-gather", 128))
    assert exchanges[2:3] == (Exchange("all-reduce", 2048),)
    assert exchanges[3:] == (Exchange("all-to-all", 2048),) * (2 + 3)


def test_copies_to_where_they_are_used_and_others():
    fetched = Copy(values=4096, bytes=8192, fetched=True, beside=True)
    moved = Copy(values=256, bytes=1024, fetched=False, beside=False)
    assert read_program(PROGRAM).copies == (fetched, moved)


CHOICE = """\
%left (p.1: f32[8]) -> f32[8] {
  ROOT %fusion.1 = f32[8]{0} fusion(%p.1), kind=kLoop, calls=%x, \
backend_config={"window_config":{"estimated_cycles":"3"}}
}

%right (p.2: f32[8]) -> f32[8] {
  ROOT %fusion.2 = f32[8]{0} fusion(%p.2), kind=kLoop, calls=%y, \
backend_config={"window_config":{"estimated_cycles":"500"}}
}

ENTRY %main (p.0: pred[], p.3: f32[8]) -> f32[8] {
  ROOT %conditional = f32[8]{0} conditional(%p.0, %p.3, %p.3), \
branch_computations={%left, %right}
}
"""


def test_of_branches_the_first_counts():
    assert read_program(CHOICE).cycles == 3


def test_programs_one_after_the_other():
    first = ProgramText((Exchange("all-reduce", 8),), (), kernels=1, cycles=20, unknown=300)
    copy = Copy(4, 8, fetched=True, beside=True)
    then = ProgramText((Exchange("all-gather", 9),), (copy,), kernels=4, cycles=50, unknown=600)
    exchanges = (Exchange("all-reduce", 8), Exchange("all-gather", 9))
    assert first.then(then) == ProgramText(exchanges, (copy,), 5, 70, 900)
