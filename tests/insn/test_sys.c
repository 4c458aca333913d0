/* The system side of the CPU: delivery in every mode, far transfers, tasks, virtual-8086 mode,
 * control registers, debug traps. Each test sets registers and tables from outside, runs a few
 * bytes of code, and looks at registers and stacks.
 */
#include "tests/insn/sys_cpu.h"

START_TEST(real_mode_interrupt)
{
    new_cpu("386");
    cpu->seg[SEG_CS].base = 0x10000;
    cpu->seg[SEG_CS].sel = 0x1000;
    cpu->rip = 0;
    cpu->r[REG_SP] = 0; /* wraps to the top */
    cpu->eflags |= FL_IF;
    cpu_update_mode(cpu);
    put(0x21 * 4, 0x12000010, 4);
    RUN("\xcd\x21", 1);
    ck_assert_uint_eq(cpu->rip, 0x10);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0x12000);
    ck_assert_uint_eq(cpu->r[REG_SP], 0xfffa);
    ck_assert_uint_eq(get(0xfffa, 2), 2);
    ck_assert_uint_eq(get(0xfffc, 2), 0x1000);
    ck_assert_uint_eq(get(0xfffe, 2), 0x202);
    ck_assert(!(cpu->eflags & FL_IF));
    RUN("\xcf", 1);
    ck_assert_uint_eq(cpu->rip, 2);
    ck_assert_uint_eq(cpu->seg[SEG_CS].sel, 0x1000);
    ck_assert(cpu->eflags & FL_IF);
    drop_cpu();
}
END_TEST

START_TEST(segment_faults)
{
    static const struct {
        uint16_t sel;
        bool ss;
        uint8_t vector;
        uint16_t error;
    } cases[] = {
        {0x100, false, EXC_GP, 0x100},       /* beyond the table */
        {K_TSS, false, EXC_GP, K_TSS},       /* system */
        {ABSENT | 3, false, EXC_NP, ABSENT}, /* not present */
        {0x14, false, EXC_GP, 0x14},         /* in no LDT */
        {0, true, EXC_GP, 0},                /* null in SS */
        {U_DATA, true, EXC_GP, 0x20},        /* wrong RPL in SS */
        {K_CODE, true, EXC_GP, K_CODE},      /* code in SS */
    };
    unsigned k;

    for (k = 0; k < ARRAY_LEN(cases); k++) {
        new_cpu("max");
        protected_mode(0);
        cpu->seg[SEG_LDT].ar = AR_UNUSABLE;
        cpu->r[REG_AX] = cases[k].sel;
        if (cases[k].ss)
            RUN("\x8e\xd0", 2);
        else
            RUN("\x8e\xd8", 2);
        expect_fault(cases[k].vector, cases[k].error);
        drop_cpu();
    }
}
END_TEST

START_TEST(ring3_and_back)
{
    new_cpu("max");
    protected_mode(3);
    put(handler(0x80), 0xcf, 1);
    RUN("\xcd\x80", 1);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->rip, handler(0x80));
    ck_assert_uint_eq(cpu->r[REG_SP], STACK0 - 20);
    ck_assert_uint_eq(get(STACK0 - 20, 4), CODE + 2);
    ck_assert_uint_eq(get(STACK0 - 16, 4), U_CODE);
    ck_assert_uint_eq(get(STACK0 - 8, 4), STACK3);
    ck_assert_uint_eq(get(STACK0 - 4, 4), U_DATA);
    set_seg(SEG_FS, K_DATA, 0xc093); /* must not survive the return */
    RUN("\xcf", 1);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE + 2);
    ck_assert_uint_eq(cpu->r[REG_SP], STACK3);
    ck_assert_uint_eq(cpu->seg[SEG_FS].sel, 0);
    ck_assert(cpu->seg[SEG_FS].ar & AR_UNUSABLE);
    ck_assert_uint_eq(cpu->seg[SEG_DS].sel, U_DATA);
    drop_cpu();
}
END_TEST

START_TEST(gate_dpl_and_privileged)
{
    new_cpu("max");
    protected_mode(3);
    RUN("\xcd\x21", 2);
    expect_fault(EXC_GP, 0x21 * 8 + 2);
    drop_cpu();

    new_cpu("max");
    protected_mode(3);
    RUN("\xf4", 2);
    expect_fault(EXC_GP, 0);
    drop_cpu();
}
END_TEST

START_TEST(call_gate_with_parameters)
{
    new_cpu("max");
    protected_mode(3);
    cpu->r[REG_SP] = STACK3 - 8;
    put(STACK3 - 8, 0xaaaa, 4);
    put(STACK3 - 4, 0xbbbb, 4);
    put(HANDLERS, 0x0008ca, 3); /* retf 8 */
    RUN("\x9a\x00\x00\x00\x00\x60\x00", 1);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->rip, HANDLERS);
    ck_assert_uint_eq(cpu->r[REG_SP], STACK0 - 24);
    ck_assert_uint_eq(get(STACK0 - 24, 4), CODE + 7);
    ck_assert_uint_eq(get(STACK0 - 20, 4), U_CODE);
    ck_assert_uint_eq(get(STACK0 - 16, 4), 0xaaaa);
    ck_assert_uint_eq(get(STACK0 - 12, 4), 0xbbbb);
    ck_assert_uint_eq(get(STACK0 - 8, 4), STACK3 - 8);
    RUN("\xca\x08\x00", 1);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->r[REG_SP], STACK3);
    ck_assert_uint_eq(cpu->rip, CODE + 7);
    drop_cpu();
}
END_TEST

START_TEST(conforming_keeps_cpl)
{
    new_cpu("max");
    protected_mode(3);
    RUN("\xea\x00\x10\x01\x00\x70\x00", 1);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->seg[SEG_CS].sel, CONFORMING | 3);
    ck_assert_uint_eq(cpu->rip, 0x11000);
    drop_cpu();
}
END_TEST

static void prepare_task2(uint16_t cs)
{
    put(TSS2 + 0x20, CODE + 0x100, 4);
    put(TSS2 + 0x24, 2, 4);
    put(TSS2 + 0x28, 0x1234, 4);
    put(TSS2 + 0x38, STACK3, 4);
    put(TSS2 + 0x48, K_DATA, 2);
    put(TSS2 + 0x4c, cs, 2);
    put(TSS2 + 0x50, K_DATA, 2);
    put(TSS2 + 0x54, K_DATA, 2);
}

START_TEST(task_call_and_return)
{
    new_cpu("pentium");
    protected_mode(0);
    prepare_task2(K_CODE);
    cpu->r[REG_BX] = 77;
    RUN("\x9a\x00\x00\x00\x00\x80\x00", 1); /* by the task gate */
    ck_assert_uint_eq(cpu->rip, CODE + 0x100);
    ck_assert_uint_eq(cpu->r[REG_AX], 0x1234);
    ck_assert_uint_eq(cpu->seg[SEG_TSS].sel, K_TSS2);
    ck_assert(cpu->eflags & FL_NT);
    ck_assert(cpu->cr0 & CR0_TS);
    ck_assert_uint_eq(get(TSS2, 2), K_TSS);
    ck_assert_uint_eq(get(GDT + K_TSS2 + 5, 1), 0x8b);
    ck_assert_uint_eq(get(TSS + 0x34, 4), 77);
    RUN("\xcf", 1);
    ck_assert_uint_eq(cpu->rip, CODE + 7);
    ck_assert_uint_eq(cpu->seg[SEG_TSS].sel, K_TSS);
    ck_assert_uint_eq(get(GDT + K_TSS2 + 5, 1), 0x89);
    ck_assert_uint_eq(get(TSS2 + 0x20, 4), CODE + 0x101);
    ck_assert(!(get(TSS2 + 0x24, 4) & FL_NT));
    drop_cpu();
}
END_TEST

START_TEST(task_fault_in_new_context)
{
    new_cpu("pentium");
    protected_mode(0);
    prepare_task2(K_DATA); /* data in CS */
    put(TSS2 + 0x38, STACK3, 4);
    put_gate(EXC_TS, TASK_GATE, 0, SYS_TASK_GATE, 0, false, 0);
    RUN("\xea\x00\x00\x00\x00\x68\x00", 1);
    /* the #TS gate leads to a busy task: #GP, then #DF, and without a stack no way out */
    ck_assert_uint_eq(shutdowns, 1);
    drop_cpu();
}
END_TEST

START_TEST(v86_interrupts)
{
    new_cpu("pentium");
    protected_mode(0);
    put(STACK0 - 36, 0x10, 4);
    put(STACK0 - 32, 0x1000, 4);
    put(STACK0 - 28, FL_VM | 2, 4);
    put(STACK0 - 24, 0x100, 4);
    put(STACK0 - 20, 0x2f00, 4);
    put(STACK0 - 16, 0x1111, 4);
    put(STACK0 - 12, 0x2222, 4);
    cpu->r[REG_SP] = STACK0 - 36;
    RUN("\xcf", 1);
    ck_assert(cpu->mode & MODE_VM86);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->seg[SEG_DS].base, 0x22220);
    ck_assert_uint_eq(cpu->r[REG_SP], 0x100);

    /* IOPL 0 and no VME: #GP, with the segments on the stack */
    RUN("\xcd\x10", 1);
    cpu_run(cpu, 1, &(uint64_t){0});
    ck_assert_uint_eq(cpu->rip & ~15ull, handler(EXC_GP));
    ck_assert_uint_eq(cpu->r[REG_SP], STACK0 - 40);
    ck_assert_uint_eq(get(STACK0 - 40, 4), 0);
    ck_assert_uint_eq(get(STACK0 - 36, 4), 0x10);
    ck_assert(get(STACK0 - 28, 4) & FL_VM);
    ck_assert_uint_eq(get(STACK0 - 12, 4), 0x2222);
    ck_assert_uint_eq(cpu->seg[SEG_DS].sel, 0);
    drop_cpu();
}
END_TEST

START_TEST(v86_vme_redirects)
{
    new_cpu("pentium");
    protected_mode(0);
    cpu->cr4 |= CR4_VME;
    put(STACK0 - 36, 0x10, 4);
    put(STACK0 - 32, 0x1000, 4);
    put(STACK0 - 28, FL_VM | FL_VIF | 2, 4);
    put(STACK0 - 24, 0x100, 4);
    put(STACK0 - 20, 0x2f00, 4);
    put(0x10 * 4, 0x12340020, 4);
    cpu->r[REG_SP] = STACK0 - 36;
    RUN("\xcf", 1);
    RUN("\xcd\x10", 1);
    ck_assert(cpu->mode & MODE_VM86);
    ck_assert_uint_eq(cpu->rip, 0x20);
    ck_assert_uint_eq(cpu->seg[SEG_CS].sel, 0x1234);
    ck_assert_uint_eq(cpu->r[REG_SP], 0xfa);
    ck_assert_uint_eq(get(0x2f0fa, 2), 0x12);
    ck_assert_uint_eq(get(0x2f0fe, 2), 0x3202); /* IF is VIF, IOPL 3 */
    ck_assert(!(cpu->eflags & FL_VIF));
    drop_cpu();
}
END_TEST

START_TEST(long_mode_syscall)
{
    new_cpu("max");
    long_mode(3);
    cpu->star = (uint64_t)(SYSRET_BASE | 3) << 48 | (uint64_t)K_CODE64 << 32;
    cpu->lstar = HANDLERS;
    cpu->fmask = FL_IF | FL_TF;
    cpu->eflags |= FL_IF;
    RUN("\x0f\x05", 1);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->rip, HANDLERS);
    ck_assert_uint_eq(cpu->r[REG_CX], CODE + 2);
    ck_assert_uint_eq(cpu->r[11], 0x202);
    ck_assert_uint_eq(cpu->seg[SEG_SS].sel, K_CODE64 + 8);
    ck_assert(!(cpu->eflags & FL_IF));
    RUN("\x48\x0f\x07", 1);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE + 2);
    ck_assert_uint_eq(cpu->seg[SEG_CS].sel, U_CODE64);
    ck_assert_uint_eq(cpu->seg[SEG_SS].sel, U_DATA64);
    ck_assert(cpu->mode & MODE_CODE64);
    ck_assert(cpu->eflags & FL_IF);
    drop_cpu();
}
END_TEST

START_TEST(sysret_checks_canonical)
{
    new_cpu("max");
    long_mode(0);
    cpu->r[REG_CX] = 1ull << 47;
    RUN("\x48\x0f\x07", 2);
    ck_assert_uint_eq(cpu->cpl, 0);
    expect_fault(EXC_GP, 0);
    drop_cpu();
}
END_TEST

START_TEST(long_mode_delivery)
{
    new_cpu("max");
    long_mode(3);
    cpu->r[REG_AX] = 0x40000000; /* not mapped */
    cpu->r[REG_SP] = STACK3 - 3;
    RUN("\x48\x8b\x00", 2); /* mov rax, [rax] */
    ck_assert_uint_eq(cpu->cr2, 0x40000000);
    expect_fault(EXC_PF, PFEC_U);
    ck_assert_uint_eq(cpu->r[REG_SP], STACK0 - 48);
    ck_assert_uint_eq(cpu->seg[SEG_SS].sel, 0);
    ck_assert_uint_eq(get(STACK0 - 8, 8), U_DATA);
    ck_assert_uint_eq(get(STACK0 - 16, 8), STACK3 - 3);
    ck_assert(get(STACK0 - 24, 8) & FL_RF);
    drop_cpu();
}
END_TEST

START_TEST(iretq_restores)
{
    new_cpu("max");
    long_mode(0);
    put(STACK0 - 40, CODE + 0x40, 8);
    put(STACK0 - 32, U_CODE64, 8);
    put(STACK0 - 24, 0x202, 8);
    put(STACK0 - 16, STACK3, 8);
    put(STACK0 - 8, U_DATA64, 8);
    cpu->r[REG_SP] = STACK0 - 40;
    cpu->nmi_blocked = true;
    cpu->seg[SEG_FS].base = 0x123456789abc;
    seg_set_null(cpu, SEG_GS, 0);
    cpu->seg[SEG_GS].base = 0x7f0000001000;
    RUN("\x48\xcf", 1);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE + 0x40);
    ck_assert_uint_eq(cpu->r[REG_SP], STACK3);
    ck_assert_uint_eq(cpu->seg[SEG_GS].base, 0x7f0000001000);
    ck_assert(!cpu->nmi_blocked);
    ck_assert(cpu->eflags & FL_IF);
    drop_cpu();
}
END_TEST

START_TEST(double_and_triple_fault)
{
    new_cpu("max");
    long_mode(0);
    put(IDT + EXC_GP * 16, 0, 8); /* no #GP gate: #NP while delivering #GP is a #DF, on IST1 */
    cpu->r[REG_AX] = 0x100;
    RUN("\x8e\xd8", 2);
    expect_fault(EXC_DF, 0);
    ck_assert_uint_eq(cpu->r[REG_SP], STACK0 - 0x1000 - 48);
    drop_cpu();

    new_cpu("max");
    long_mode(0);
    cpu->idt.limit = 0;
    cpu->r[REG_AX] = 0x100;
    RUN("\x8e\xd8", 2);
    ck_assert_uint_eq(shutdowns, 1);
    ck_assert_uint_eq(cpu->activity, CPU_SHUTDOWN);
    drop_cpu();
}
END_TEST

START_TEST(external_interrupt_and_shadow)
{
    new_cpu("max");
    protected_mode(0);
    next_vector = 0x41;
    cpu_interrupt(cpu, CPU_INTR);
    RUN("\xfb\x40\x40", 2); /* sti; inc eax; inc eax: taken after the first inc */
    ck_assert_uint_eq(cpu->r[REG_AX], 1);
    cpu_run(cpu, 1, &(uint64_t){0});
    ck_assert_uint_eq(cpu->rip & ~15ull, handler(0x41));
    ck_assert_uint_eq(cpu->r[REG_AX], 1);
    ck_assert_uint_eq(get(cpu->r[REG_SP], 4), CODE + 2);
    drop_cpu();
}
END_TEST

START_TEST(single_step_and_breakpoints)
{
    new_cpu("max");
    protected_mode(0);
    cpu->eflags |= FL_TF;
    RUN("\x40\x40", 2);
    ck_assert_uint_eq(cpu->r[REG_AX], 1);
    ck_assert_uint_eq(cpu->rip & ~15ull, handler(EXC_DB));
    ck_assert_uint_eq(get(cpu->r[REG_SP], 4), CODE + 1);
    ck_assert_uint_eq(cpu->dr[6], DR6_FIXED | DR6_BS);
    drop_cpu();

    new_cpu("max"); /* a write to watched memory: a trap after it */
    protected_mode(0);
    cpu->dr[1] = 0x5004;
    cpu->dr[7] = DR7_FIXED | 0xd << 20 | 4;
    cpu_dr_changed(cpu);
    cpu->r[REG_BX] = 0x5000;
    RUN("\x89\x03\x89\x43\x04\x40", 4);
    ck_assert_uint_eq(cpu->rip & ~15ull, handler(EXC_DB));
    ck_assert_uint_eq(get(cpu->r[REG_SP], 4), CODE + 5);
    ck_assert_uint_eq(cpu->dr[6], DR6_FIXED | 2);
    drop_cpu();

    new_cpu("max"); /* an instruction breakpoint: a fault before it, passed with RF */
    protected_mode(0);
    cpu->dr[0] = CODE + 1;
    cpu->dr[7] = DR7_FIXED | 1;
    cpu_dr_changed(cpu);
    put(handler(EXC_DB), 0xcf, 1);
    RUN("\x40\x40\x40", 3);
    ck_assert_uint_eq(cpu->r[REG_AX], 1);
    ck_assert_uint_eq(get(STACK0 - 12, 4), CODE + 1);
    ck_assert_uint_eq(cpu->dr[6], DR6_FIXED | 1);
    drop_cpu();
}
END_TEST

START_TEST(far_return_to_outer_releases)
{
    new_cpu("max");
    protected_mode(0);
    put(STACK0 - 16, CODE + 0x30, 4);
    put(STACK0 - 12, U_CODE, 4);
    put(STACK0 - 4, STACK3 - 0x40, 4); /* after a parameter of 4 bytes */
    put(STACK0, U_DATA, 4);
    cpu->r[REG_SP] = STACK0 - 16;
    RUN("\xca\x04\x00", 1);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE + 0x30);
    ck_assert_uint_eq(cpu->r[REG_SP], STACK3 - 0x40 + 4);
    ck_assert_uint_eq(cpu->seg[SEG_DS].sel, 0); /* was a kernel segment */
    drop_cpu();
}
END_TEST

START_TEST(xsave_leaf)
{
    uint32_t out[4];

    new_cpu("max");
    cpu_cpuid(cpu, 0xd, 0, out);
    ck_assert_uint_eq(out[0], 0x207); /* x87, SSE, AVX, PKRU */
    ck_assert_uint_eq(out[2], 840);
    cpu_cpuid(cpu, 0xd, 2, out);
    ck_assert_uint_eq(out[0], 256);
    ck_assert_uint_eq(out[1], 576);
    drop_cpu();
}
END_TEST

START_TEST(inspection)
{
    new_cpu("max");
    protected_mode(3);
    cpu->r[REG_AX] = K_CODE; /* not visible from ring 3 */
    cpu->r[REG_BX] = 7;
    RUN("\x0f\x02\xd8", 1); /* lar ebx, eax */
    ck_assert(!flags_zf(cpu));
    ck_assert_uint_eq(cpu->r[REG_BX], 7);
    cpu->rip = CODE;
    cpu->r[REG_AX] = U_DATA;
    RUN("\x0f\x02\xd8", 1);
    ck_assert(flags_zf(cpu));
    ck_assert_uint_eq(cpu->r[REG_BX], 0xcff300);
    cpu->rip = CODE;
    RUN("\x0f\x03\xd8", 1); /* lsl */
    ck_assert_uint_eq(cpu->r[REG_BX], 0xffffffff);
    cpu->rip = CODE;
    RUN("\x0f\x00\xe8", 1); /* verw ax */
    ck_assert(flags_zf(cpu));
    drop_cpu();
}
END_TEST

START_TEST(control_registers)
{
    new_cpu("max");
    protected_mode(0);
    cpu->r[REG_AX] = CR0_PG; /* without PE */
    RUN("\x0f\x22\xc0", 2);
    expect_fault(EXC_GP, 0);
    drop_cpu();

    new_cpu("386"); /* no CR4 */
    protected_mode(0);
    RUN("\x0f\x22\xe0", 2);
    expect_fault(EXC_UD, -1);
    drop_cpu();

    new_cpu("max");
    long_mode(0);
    cpu->r[REG_CX] = 0x12345;
    RUN("\x0f\x32", 2); /* rdmsr of what is not there */
    expect_fault(EXC_GP, 0);
    drop_cpu();
}
END_TEST

START_TEST(io_permission_map)
{
    new_cpu("max");
    protected_mode(3);
    put(TSS + 136 + 0x70 / 8, 2, 1); /* port 71h forbidden */
    RUN("\xe4\x70", 1);
    ck_assert_uint_eq(cpu->r[REG_AX], 0x44);
    cpu->rip = CODE;
    RUN("\xe5\x70", 2);
    expect_fault(EXC_GP, 0);
    drop_cpu();
}
END_TEST

START_TEST(rep_insb_in_batches)
{
    new_cpu("max");
    protected_mode(0);
    cpu->r[REG_CX] = 300;
    cpu->r[REG_DI] = 0x6000;
    RUN("\xf3\x6c\xf4", 3);
    ck_assert_uint_eq(cpu->r[REG_CX], 0);
    ck_assert_uint_eq(cpu->r[REG_DI], 0x6000 + 300);
    ck_assert_uint_eq(get(0x6000 + 299, 1), 0x44);
    ck_assert_uint_eq(cpu->rip, CODE + 3);
    drop_cpu();
}
END_TEST

/* A go of a repeated store is one instruction whatever the TLB and the page's flags say, or virtual
 * time would depend on who looks at the screen. */
START_TEST(rep_stos_counts_alike)
{
    unsigned k;

    for (k = 0; k < 4; k++) {
        uint64_t done;

        new_cpu("max");
        protected_mode(0);
        cpu->r[REG_CX] = 1500; /* from the middle of one page into a third */
        cpu->r[REG_DI] = 0x50800;
        put(CODE, 0xf4abf3, 3); /* rep stosd, hlt */
        if (k & 1)
            mmu_probe_write(&cpu->mmu, 0x50800, 4, MMU_SUPER_AC);
        if (k & 2)
            physmap_track(map, 0x50000, 0x3000);
        cpu_run(cpu, 100, &done);
        ck_assert_uint_eq(done, 3);
        ck_assert_uint_eq(cpu->r[REG_DI], 0x50800 + 6000);
        drop_cpu();
    }
}
END_TEST

/* Its instruction breakpoint comes once for a repeated instruction, not at each iteration. */
START_TEST(rep_under_breakpoint)
{
    new_cpu("max");
    protected_mode(0);
    cpu->r[REG_CX] = 3;
    cpu->r[REG_DI] = 0x50000;
    cpu->dr[0] = CODE;
    cpu->dr[7] = 0x401;
    cpu_dr_changed(cpu);
    cpu->eflags |= FL_RF;
    RUN("\xf3\xab\xf4", 4);
    ck_assert_uint_eq(cpu->r[REG_CX], 0);
    ck_assert_uint_eq(cpu->rip, CODE + 3);
    drop_cpu();
}
END_TEST

START_TEST(task_switched_flag)
{
    new_cpu("max");
    protected_mode(0);
    cpu->cr0 &= ~(uint64_t)(CR0_EM | CR0_TS);
    cpu_cr_changed(cpu);
    cpu->r[REG_AX] = cpu->cr0 | CR0_TS;
    RUN("\x0f\x22\xc0\xd9\xe8", 2); /* mov cr0, eax; fld1 */
    ck_assert_uint_eq(cpu->rip, handler(EXC_NM));
    ck_assert_uint_eq(get(cpu->r[REG_SP], 4), CODE + 3);
    RUN("\x0f\x06\xd9\xe8\xf4", 3); /* clts; fld1; hlt */
    ck_assert_uint_eq(cpu->rip, handler(EXC_NM) + 5);
    drop_cpu();
}
END_TEST

START_TEST(cpuid_tells_the_truth)
{
    uint32_t out[4];
    unsigned n;

    for (n = 0; cpu_model_name(n); n++) {
        new_cpu(cpu_model_name(n));
        cpu_cpuid(cpu, 1, 0, out);
        ck_assert(!!(out[3] & 1 << 25) == cpu_has(cpu, F_SSE));
        ck_assert(!!(out[2] & 1 << 23) == cpu_has(cpu, F_POPCNT));
        ck_assert(!!(out[2] & 1 << 28) == cpu_has(cpu, F_AVX));
        ck_assert(!!(cpu_flags_exist(cpu) & FL_ID) == cpu_has(cpu, F_CPUID));
        drop_cpu();
    }
    ck_assert_uint_eq(n, 8);
}
END_TEST

/* What cannot be decoded is kept like any code, and must go when one of its later bytes changes. */
START_TEST(refused_code_is_patched)
{
    new_cpu("max");
    protected_mode(0);
    RUN("\x0f\xff\xc0", 1); /* UD0 */
    ck_assert_uint_eq(cpu->rip, handler(EXC_UD));
    cpu->rip = CODE;
    put(CODE + 1, 0xa2, 1); /* CPUID */
    uint64_t done;
    cpu_run(cpu, 1, &done);
    ck_assert_uint_eq(cpu->rip, CODE + 2);
    drop_cpu();
}
END_TEST

/* A handler that faults at its first instruction: no instruction ends, but the run does. */
START_TEST(faulting_handler_ends)
{
    uint64_t done;
    new_cpu("max");
    protected_mode(0);
    put(handler(EXC_UD), 0x0b0f, 2);
    put(CODE, 0x0b0f, 2);
    ck_assert_int_eq(cpu_run(cpu, 100, &done), CPU_EXIT_BUDGET);
    ck_assert_uint_eq(done, 100);
    drop_cpu();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        real_mode_interrupt, segment_faults, ring3_and_back, gate_dpl_and_privileged,
        call_gate_with_parameters, conforming_keeps_cpl, task_call_and_return,
        task_fault_in_new_context, v86_interrupts, v86_vme_redirects, long_mode_syscall,
        sysret_checks_canonical, long_mode_delivery, iretq_restores, double_and_triple_fault,
        refused_code_is_patched, faulting_handler_ends,
        external_interrupt_and_shadow, single_step_and_breakpoints,
        far_return_to_outer_releases, xsave_leaf, inspection,
        control_registers, io_permission_map, rep_insb_in_batches, rep_stos_counts_alike,
        rep_under_breakpoint, task_switched_flag, cpuid_tells_the_truth,
    };

    return RUN_TESTS("sys", tests);
}
