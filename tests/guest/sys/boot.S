/* From the multiboot loader (32-bit protected mode, flat, paging off) to guest_start(), in the guest's
 * own width; the way there of the other processors, from real mode; and every vector's entry. */
#include "sys.h"

#define STACK_SIZE 0x4000

/* struct trap in sys.h */
#ifdef __x86_64__
#define WORD 8
#else
#define WORD 4
#endif
#define trap_vector trap
#define trap_flags  trap + 4 * WORD
#define trap_regs   trap + 14 * WORD

    .section .multiboot, "ax"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .bss
    .balign 4096
    .globl user_stack, user_stack_top, run_stack_top
user_stack:
    .skip STACK_SIZE
user_stack_top:
    .skip STACK_SIZE
run_stack_top:                      /* of what run() runs and of level 0 in run_user() */
    .skip STACK_SIZE
stack_top:
    .skip 7 * STACK_SIZE            /* the other processors': cpu n's ends n times further up */
#ifdef __x86_64__
    .balign 4096
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_pds:
    .skip 4 * 4096
#endif

    .data
    .balign 4
    .globl boot_info                /* of the multiboot loader */
boot_info:
    .long 0

    .text
    .code32
    .globl start
start:
    cld
    cli
    mov %ebx, boot_info
    mov $stack_top, %esp
#ifdef __x86_64__
    movl $boot_pdpt + 7, boot_pml4
    movl $boot_pds + 0x0007, boot_pdpt
    movl $boot_pds + 0x1007, boot_pdpt + 8
    movl $boot_pds + 0x2007, boot_pdpt + 16
    movl $boot_pds + 0x3007, boot_pdpt + 24
    mov $boot_pds, %edi
    mov $0x87, %eax
1:  mov %eax, (%edi)
    add $8, %edi
    add $0x200000, %eax
    jnc 1b
    call enter_long
    lgdt gdt_ptr
    ljmp $KCODE, $2f
    .code64
2:  mov $KDATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $stack_top, %esp
    call guest_start

    .code32
enter_long:
    mov %cr4, %eax
    or $CR4_BOOT, %eax
    mov %eax, %cr4
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x900, %eax                 /* LME, NXE */
    wrmsr
    mov %cr0, %eax
    and $0xfffffff3, %eax           /* no EM, TS */
    or $0x80000022, %eax
    mov %eax, %cr0
    ret
    .set CR4_BOOT, 0x620            /* PAE, OSFXSR, OSXMMEXCPT */
#else
    lgdt gdt_ptr
    ljmp $KCODE, $2f
2:  mov $KDATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov %cr4, %eax
    or $0x600, %eax                 /* OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov %cr0, %eax
    and $0xfffffff3, %eax
    or $0x22, %eax                  /* NE, MP */
    mov %eax, %cr0
    call guest_start
#endif

/* ---- other processors: ap_start is copied below 1 MiB ----------------------------------------- */
    .globl ap_start, ap_start_end
    .code16
ap_start:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    lgdtl ap_gdt_ptr - ap_start
    mov %cr0, %eax
    and $0x9fffffff, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $KCODE32, $ap_32
ap_gdt_ptr:
    .word GDT_SIZE - 1
    .long gdt
ap_start_end:
    .code32
ap_32:
    mov $KDATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $1, %edi
    lock xadd %edi, cpus_started    /* its number */
    mov %edi, %ebx
    imul $STACK_SIZE, %edi, %esp
    add $stack_top, %esp
#ifdef __x86_64__
    mov %esp, %ebp
    call enter_long
    ljmp $KCODE, $1f
    .code64
1:  mov %ebx, %edi
    call ap_main
#else
    mov %cr4, %eax
    or $0x600, %eax
    mov %eax, %cr4
    mov %cr0, %eax
    and $0xfffffff3, %eax
    or $0x22, %eax
    mov %eax, %cr0
    push %ebx
    push $0
    ljmp $KCODE, $1f
1:  call ap_main
#endif

/* ---- vectors ----------------------------------------------------------------------------------- */
    .globl stub_table
    .balign 16
stub_table:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21
    .else
    push $0
    .endif
    push $vector
    jmp common
    .set vector, vector + 1
    .endr

#ifdef __x86_64__
common:
    push %rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi
    push %r8; push %r9; push %r10; push %r11; push %r12; push %r13; push %r14; push %r15
    cld
    mov %rsp, %rdi
    mov %rsp, %rbx
    and $-16, %rsp
    call on_trap                    /* true: resume */
    mov %rbx, %rsp
    test %al, %al
    jz run_unwind
    pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8
    pop %rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax
    add $16, %rsp
    iretq

    .globl run, run_user
run:
    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
    pushf
    mov %rdi, run_code
    mov %rsp, run_sp
    mov $run_stack_top, %rsp
    call load_in
    call *run_code
    call save_out
    pushf
    pop trap_flags
    mov $-1, %eax
    jmp run_back

run_user:
    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
    pushf
    mov %rsp, run_sp
    mov $run_stack_top, %rsp
    mov %rsp, tss + 4
    mov user + 8, %eax
    mov %eax, %ds
    mov %eax, %es
    push user + 8                   /* SS, RSP, RFLAGS, CS, RIP */
    push user + 16
    push user + 24
    push user
    push %rdi
    call load_in
    iretq

run_unwind:
    mov $KDATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov trap_vector, %eax
run_back:
    mov run_sp, %rsp
    cld
    popf
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
    mov %eax, trap_vector
    movq $0, run_sp
    ret

load_in:
    mov in, %rax;       mov in + 8, %rcx;   mov in + 16, %rdx;  mov in + 24, %rbx
    mov in + 32, %rbp;  mov in + 40, %rsi;  mov in + 48, %rdi;  mov in + 56, %r8
    mov in + 64, %r9;   mov in + 72, %r10;  mov in + 80, %r11;  mov in + 88, %r12
    mov in + 96, %r13;  mov in + 104, %r14; mov in + 112, %r15
    ret
save_out:
    mov %rax, trap_regs
    mov %rcx, trap_regs + 8;   mov %rdx, trap_regs + 16; mov %rbx, trap_regs + 24
    mov %rbp, trap_regs + 32;  mov %rsi, trap_regs + 40; mov %rdi, trap_regs + 48
    mov %r8, trap_regs + 56;   mov %r9, trap_regs + 64;  mov %r10, trap_regs + 72
    mov %r11, trap_regs + 80;  mov %r12, trap_regs + 88; mov %r13, trap_regs + 96
    mov %r14, trap_regs + 104; mov %r15, trap_regs + 112
    ret
#else
common:
    pushal
    push %ds; push %es; push %fs; push %gs
    cld
    mov $KDATA, %eax
    mov %eax, %ds
    mov %eax, %es
    push %esp
    call on_trap
    add $4, %esp
    test %al, %al
    jz run_unwind
    pop %gs; pop %fs; pop %es; pop %ds
    popal
    add $8, %esp
    iret

    .globl run, run_user
run:
    mov 4(%esp), %eax
    push %ebx; push %ebp; push %esi; push %edi
    pushf
    mov %eax, run_code
    mov %esp, run_sp
    mov $run_stack_top, %esp
    call load_in
    call *run_code
    mov %eax, %ss:trap_regs
    pushf
    mov $KDATA, %eax
    mov %eax, %ds
    mov %eax, %es
    pop trap_flags
    mov %ecx, trap_regs + 4;  mov %edx, trap_regs + 8; mov %ebx, trap_regs + 12
    mov %ebp, trap_regs + 16; mov %esi, trap_regs + 20; mov %edi, trap_regs + 24
    mov $-1, %eax
    jmp run_back

run_user:
    mov 4(%esp), %eax
    push %ebx; push %ebp; push %esi; push %edi
    pushf
    mov %esp, run_sp
    mov $run_stack_top, %esp
    mov %esp, tss + 4
    push user + 4                   /* SS, ESP, EFLAGS, CS, EIP */
    push user + 8
    push user + 12
    push user
    push %eax
    mov user + 4, %eax
    mov %eax, %ds
    mov %eax, %es
    call load_in_ss
    iret

run_unwind:
    mov $KDATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov trap_vector, %eax
run_back:
    mov run_sp, %esp
    cld
    popf
    pop %edi; pop %esi; pop %ebp; pop %ebx
    mov %eax, trap_vector
    movl $0, run_sp
    ret

load_in:
load_in_ss:
    mov %ss:in, %eax;      mov %ss:in + 4, %ecx;  mov %ss:in + 8, %edx; mov %ss:in + 12, %ebx
    mov %ss:in + 16, %ebp; mov %ss:in + 20, %esi; mov %ss:in + 24, %edi
    ret

/* The task of #DF: what the interrupted one held is in its TSS. */
    .globl df_task
df_task:
    cld
    call on_df_task                 /* its argument, the error code, has been pushed; */
    add $4, %esp
    jmp run_unwind
#endif

    .data
    .balign 8
    .globl gdt_ptr, run_sp
gdt_ptr:
    .word GDT_SIZE - 1
#ifdef __x86_64__
    .quad gdt
#else
    .long gdt
#endif
    .balign 8
run_sp:
    .quad 0
run_code:
    .quad 0
    .section .note.GNU-stack, "", @progbits
