/* Control registers, MSRs and extended state: what may be written to them, what follows from it, and
 * what is refused. The harness is that of test_sys.c.
 */
#include "cpu/xsave.h"
#include "tests/insn/sys_cpu.h"

static unsigned moved; /* times that the TSC was written */

static void tsc_moved(void *opaque)
{
    moved++;
}

static uint64_t current_tsc(void *opaque)
{
    return 1000;
}

/* Runs one instruction at CODE. */
#define AGAIN(bytes)                                                                               \
    do {                                                                                           \
        cpu->rip = CODE;                                                                           \
        RUN(bytes, 1);                                                                             \
    } while (0)

static bool wrmsr(uint32_t msr, uint64_t v)
{
    return cpu_write_msr(cpu, msr, v);
}

static uint64_t rdmsr(uint32_t msr)
{
    uint64_t v = 0;
    ck_assert(cpu_read_msr(cpu, msr, &v));
    return v;
}

/* PAE paging keeps what MOV to CR3 read, and refuses reserved bits. */
START_TEST(pdptes_are_registers)
{
    new_cpu("pentium3");
    protected_mode(0);
    put(TABLES, (TABLES + 0x1000) | 1, 8);
    for (unsigned k = 0; k < 4; k++)
        put(TABLES + 0x1000 + k * 8, (uint64_t)k << 21 | 0x87, 8);
    put(TABLES + 0x1000 + 8, 0x87, 8); /* 2 MiB is 0 */
    put(TABLES + 0x20, (TABLES + 0x1000) | 3, 8);
    put(0x60000, 0x1234, 4);
    cpu->r[REG_AX] = CR4_PAE;
    RUN("\x0f\x22\xe0", 1);
    cpu->r[REG_AX] = TABLES;
    AGAIN("\x0f\x22\xd8");
    cpu->r[REG_AX] = cpu->cr0 | CR0_PG;
    AGAIN("\x0f\x22\xc0");
    ck_assert(cpu->cr0 & CR0_PG);
    put(TABLES, 0, 8); /* nobody looks any more */
    mmu_flush_all(&cpu->mmu);
    cpu->r[REG_BX] = 2 * MIB + 0x60000;
    AGAIN("\x8b\x03"); /* mov eax, [ebx] */
    ck_assert_uint_eq(cpu->r[REG_AX], 0x1234);
    cpu->r[REG_AX] = TABLES + 0x20;
    AGAIN("\x0f\x22\xd8");
    expect_fault(EXC_GP, 0);
    ck_assert_uint_eq(cpu->cr3, TABLES);
    drop_cpu();
}
END_TEST

START_TEST(long_mode_wants_a_wide_tss)
{
    for (unsigned k = 0; k < 2; k++) {
        new_cpu("max");
        protected_mode(0);
        put(TABLES, (TABLES + 0x1000) | 7, 8);
        put(TABLES + 0x1000, (TABLES + 0x2000) | 7, 8);
        put(TABLES + 0x2000, 0x87, 8);
        cpu->cr3 = TABLES;
        mmu_load_cr3(&cpu->mmu, TABLES, false);
        cpu->cr4 |= CR4_PAE;
        cpu->efer |= EFER_LME;
        cpu_cr_changed(cpu);
        cpu->seg[SEG_TSS].ar = AR_P | (k ? SYS_TSS16_BUSY : SYS_TSS32_BUSY);
        cpu->r[REG_AX] = cpu->cr0 | CR0_PG;
        AGAIN("\x0f\x22\xc0");
        if (k)
            expect_fault(EXC_GP, 0);
        ck_assert_uint_eq(cpu->efer & EFER_LMA, k ? 0 : EFER_LMA);
        drop_cpu();
    }
}
END_TEST

START_TEST(no_57_bits)
{
    uint32_t out[4];

    new_cpu("max");
    cpu_cpuid(cpu, 7, 0, out);
    ck_assert_uint_eq(out[2] & BIT(16), 0);
    protected_mode(0);
    cpu->r[REG_AX] = CR4_LA57;
    AGAIN("\x0f\x22\xe0");
    expect_fault(EXC_GP, 0);
    cpu_cpuid(cpu, 7, 1, out); /* nor linear-address masking */
    ck_assert_uint_eq(out[0], 0);
    ck_assert(!(cpu_cr4_allowed(cpu) & BIT64(28)));
    drop_cpu();
}
END_TEST

/* Accesses of 32-bit code go round at 4 GiB, in compatibility mode too: data, stack, images. */
START_TEST(compatibility_mode_wraps)
{
    new_cpu("max");
    long_mode(0);
    put(TABLES + 0x1000 + 3 * 8, (TABLES + 0x3000) | 7, 8);
    put(TABLES + 0x3000 + 511 * 8, 2 * MIB | 0x87, 8);
    put(TABLES + 0x1000 + 4 * 8, (TABLES + 0x2000) | 7, 8); /* where it must not go: 4 MiB above */
    put(TABLES + 0x2000, 0x87, 8);
    set_seg(SEG_CS, K_CODE, 0xc09b);
    cpu->cr4 |= CR4_OSFXSR;
    cpu_cr_changed(cpu);
    put(4 * MIB - 4, 0x44332211, 4);
    put(0, 0x88776655, 4);
    cpu->r[REG_BX] = 0xfffffffe;
    AGAIN("\x8b\x03");
    ck_assert_uint_eq(cpu->r[REG_AX], 0x66554433);
    cpu->r[REG_AX] = 0xddccbbaa;
    AGAIN("\x89\x03");
    ck_assert_uint_eq(get(4 * MIB - 2, 2), 0xbbaa);
    ck_assert_uint_eq(get(0, 2), 0xddcc);
    AGAIN("\x0f\x10\x03"); /* movups */
    ck_assert_uint_eq(ld32(cpu->xmm[0].b), 0xddccbbaa);
    AGAIN("\xff\x03"); /* inc */
    ck_assert_uint_eq(get(4 * MIB - 2, 2), 0xbbab);
    cpu->r[REG_SP] = 2;
    AGAIN("\x50"); /* push eax */
    ck_assert_uint_eq(cpu->r[REG_SP], 0xfffffffe);
    ck_assert_uint_eq(get(4 * MIB - 2, 2), 0xbbaa);
    put(0, 0x9999, 2);
    AGAIN("\x59"); /* pop ecx */
    ck_assert_uint_eq(cpu->r[REG_CX], 0x9999bbaa);
    ck_assert_uint_eq(cpu->r[REG_SP], 2);
    drop_cpu();
}
END_TEST

START_TEST(tsc_writes_are_told)
{
    new_cpu("max");
    cpu->env.tsc_moved = tsc_moved;
    cpu->env.tsc = current_tsc;
    moved = 0;
    ck_assert(wrmsr(0x10, 5));
    ck_assert_uint_eq(moved, 1);
    ck_assert_uint_eq(rdmsr(0x10), 5);
    ck_assert_uint_eq(rdmsr(0x3b), 5 - 1000ull);
    ck_assert(wrmsr(0x3b, 0));
    ck_assert_uint_eq(moved, 2);
    ck_assert_uint_eq(rdmsr(0x10), 1000);
    drop_cpu();
}
END_TEST

/* XSAVES stores the compacted form; XRSTORS takes nothing else, and both are the kernel's. */
START_TEST(xsaves)
{
    enum { AREA = 0x50000 };
    uint32_t out[4];

    new_cpu("max");
    cpu_cpuid(cpu, 0xd, 1, out);
    ck_assert_uint_eq(out[0], 0xb);
    ck_assert_uint_eq(out[2] | out[3], 0); /* nothing for IA32_XSS */
    ck_assert(wrmsr(0xda0, 0) && !wrmsr(0xda0, 0x100));
    ck_assert_uint_eq(rdmsr(0xda0), 0);
    protected_mode(0);
    cpu->r[REG_BX] = AREA;
    AGAIN("\x0f\xc7\x2b");
    expect_fault(EXC_UD, -1); /* CR4.OSXSAVE */
    protected_mode(0);
    cpu->cr4 |= CR4_OSXSAVE | CR4_OSFXSR;
    cpu->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU;
    cpu_cr_changed(cpu);
    cpu->fpu.tags = 0;
    cpu->fpu.cw = 0x37f;
    cpu->pkru = 0x55;
    cpu->xmm[9].b[20] = 1; /* no part of the state outside 64-bit code */
    cpu->r[REG_AX] = UINT32_MAX;
    cpu->r[REG_DX] = UINT32_MAX;
    AGAIN("\x0f\xc7\x2b");
    ck_assert_uint_eq(cpu->rip, CODE + 3);
    ck_assert_uint_eq(get(AREA + 512, 8), XCR0_PKRU);
    ck_assert_uint_eq(get(AREA + 520, 8), BIT64(63) | cpu->xcr0);
    ck_assert_uint_eq(get(AREA + 576 + 256, 4), 0x55);
    cpu->pkru = 0;
    cpu->xmm[1].b[20] = 7;
    AGAIN("\x0f\xc7\x1b");
    ck_assert_uint_eq(cpu->rip, CODE + 3);
    ck_assert_uint_eq(cpu->pkru, 0x55);
    ck_assert_uint_eq(cpu->xmm[1].b[20], 0);
    ck_assert_uint_eq(cpu->xmm[9].b[20], 1);
    put(AREA + 520, 0, 8);
    AGAIN("\x0f\xc7\x1b"); /* the standard form */
    expect_fault(EXC_GP, 0);
    protected_mode(3);
    AGAIN("\x0f\xc7\x2b");
    expect_fault(EXC_GP, 0);
    drop_cpu();
}
END_TEST

/* VEX needs CR4.OSXSAVE and both halves of the registers in XCR0; CR0.EM does not matter to it. */
START_TEST(vex_and_the_mode)
{
    new_cpu("max");
    protected_mode(0);
    AGAIN("\xc5\xf8\x57\xc0"); /* vxorps xmm0, xmm0, xmm0 */
    expect_fault(EXC_UD, -1);
    protected_mode(0);
    cpu->cr4 |= CR4_OSXSAVE;
    cpu_cr_changed(cpu);
    cpu->r[REG_AX] = XCR0_X87 | XCR0_SSE;
    cpu->r[REG_DX] = cpu->r[REG_CX] = 0;
    AGAIN("\x0f\x01\xd1"); /* xsetbv */
    AGAIN("\xc5\xf8\x57\xc0");
    expect_fault(EXC_UD, -1);
    protected_mode(0);
    cpu->r[REG_AX] = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    AGAIN("\x0f\x01\xd1");
    cpu->cr0 |= CR0_EM;
    cpu_cr_changed(cpu);
    AGAIN("\xc5\xf8\x57\xc0");
    ck_assert_uint_eq(cpu->rip, CODE + 4);
    cpu->cr0 |= CR0_TS;
    cpu_cr_changed(cpu);
    AGAIN("\xc5\xf8\x57\xc0");
    expect_fault(EXC_NM, -1);
    drop_cpu();
}
END_TEST

START_TEST(misc_enable)
{
    uint32_t out[4];

    new_cpu("max");
    ck_assert_uint_eq(rdmsr(0x1a0), BIT64(0) | BIT64(11) | BIT64(12) | BIT64(18));
    ck_assert(wrmsr(0x1a0, 0x400c50809));
    ck_assert_uint_eq(rdmsr(0x1a0), 0x400c51809);
    cpu_cpuid(cpu, 0, 0, out);
    ck_assert_uint_eq(out[0], 2);
    cpu_cpuid(cpu, 0x80000001, 0, out);
    ck_assert_uint_eq(out[3] & BIT(20), 0);
    ck_assert(!wrmsr(0xc0000080, EFER_NXE));
    ck_assert(wrmsr(0x1a0, 0));
    ck_assert(wrmsr(0xc0000080, EFER_NXE));
    cpu_cpuid(cpu, 1, 0, out);
    ck_assert_uint_eq(out[2] & BIT(3), 0);
    protected_mode(0);
    AGAIN("\x0f\x01\xc8"); /* monitor */
    expect_fault(EXC_UD, -1);
    drop_cpu();
}
END_TEST

/* DEBUGCTL.BTF: TF traps at the jump that is taken; #DB clears it. */
START_TEST(branch_trap)
{
    uint64_t done;

    new_cpu("max");
    protected_mode(0);
    ck_assert(!wrmsr(0x1d9, 4) && wrmsr(0x1d9, 3));
    ck_assert_uint_eq(rdmsr(0x1d9), 3);
    cpu->eflags |= FL_TF;
    RUN("\x90\x31\xc0\x75\x10\x74\x10", 3); /* nop; xor eax, eax; jnz; jz */
    ck_assert_uint_eq(cpu->rip, CODE + 5);
    cpu_run(cpu, 2, &done);
    ck_assert_uint_eq(cpu->rip, handler(EXC_DB));
    ck_assert_uint_eq(get(cpu->r[REG_SP], 4), CODE + 0x17);
    ck_assert_uint_eq(cpu->dr[6] & DR6_BS, DR6_BS);
    ck_assert_uint_eq(rdmsr(0x1d9), 0);
    drop_cpu();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        pdptes_are_registers,     long_mode_wants_a_wide_tss, no_57_bits,
        compatibility_mode_wraps, tsc_writes_are_told,        xsaves,
        vex_and_the_mode,         misc_enable,                branch_trap,
    };
    return RUN_TESTS("sysregs", tests);
}
