; Option ROM that boots a Linux bzImage given with --kernel. Firmware sees a boot device; started, it
; asks the firmware configuration device for the pieces, which the machine has prepared (setup header
; already filled in: machine/linuxboot.c), and enters the kernel's 16-bit setup code as the Linux boot
; protocol says (Documentation/arch/x86/boot.rst, "Running the kernel").

%define ROM_SIZE 1024
%define NAME "Linux kernel from the host"
%include "option_rom.inc"

FW_SETUP_ADDR   equ 0x16
FW_CMDLINE_ADDR equ 0x13

boot:
        cld
        cli
        xor ax, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        mov si, blobs
.next:
        call load_blob
        jc .failed
        cmp si, blobs.end
        jb .next

        mov ax, FW_SETUP_ADDR
        call fw_read_u32
        mov ebx, eax
        mov ax, FW_CMDLINE_ADDR ; the stack ends below it, and the header's heap below that
        call fw_read_u32
        sub eax, ebx
        sub eax, 16
        mov cx, ax
        mov eax, ebx
        shr eax, 4
        cli
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        mov ss, ax
        mov sp, cx
        add ax, 0x20
        push ax
        push word 0
        retf                    ; to the setup code, 512 bytes in
.failed:
        mov si, message
        call print
.halt:
        hlt
        jmp .halt

%include "fw_dma.inc"

        align 2
blobs:  dw 0x16, 0x17, 0x18     ; setup code and header
        dw 0x13, 0x14, 0x15     ; command line
        dw 0x0a, 0x0b, 0x12     ; initial RAM disk
        dw 0x07, 0x08, 0x11     ; kernel
.end:
message: db "Linux boot: reading the kernel from the host failed", 13, 10, 0

        times ROM_SIZE - ($ - $$) db 0
