; Option ROM that boots a multiboot ELF file given with --kernel: Multiboot Specification 0.6.96. The
; machine has laid out the image, the modules and the information structure (machine/multiboot.c); what
; only the firmware knows, the memory sizes and map, is filled in here before the jump.

%define ROM_SIZE 1024
%define NAME "Multiboot kernel from the host"
%include "option_rom.inc"

FW_ENTRY        equ 0x10
FW_MBI_ADDR     equ 0x16

; multiboot information structure
MBI_MEM_LOWER   equ 4
MBI_MEM_UPPER   equ 8
MBI_MMAP_LENGTH equ 44
MBI_MMAP_ADDR   equ 48
MAX_ENTRIES     equ 64

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

        mov ax, FW_MBI_ADDR
        call fw_read_u32
        mov ebp, eax            ; physical; below 1 MiB, so es:0 reaches all of it
        shr eax, 4
        mov es, ax

        int 0x12                ; KiB below 640 KiB
        movzx eax, ax
        mov [es:MBI_MEM_LOWER], eax
        mov ax, 0xe801          ; KiB from 1 MiB to 16 MiB, 64 KiB blocks above
        xor cx, cx
        xor dx, dx
        int 0x15
        jc .map
        movzx eax, cx
        movzx edx, dx
        shl edx, 6
        add eax, edx
        mov [es:MBI_MEM_UPPER], eax
.map:
        mov edi, [es:MBI_MMAP_ADDR]
        sub edi, ebp
        mov dword [es:MBI_MMAP_LENGTH], 0
        xor ebx, ebx
        mov si, MAX_ENTRIES
.entry:
        mov dword [es:di], 20
        add di, 4
        mov eax, 0xe820
        mov edx, 0x534d4150     ; "SMAP"
        mov ecx, 20
        int 0x15
        jc .enter
        add di, 20
        add dword [es:MBI_MMAP_LENGTH], 24
        dec si
        jz .enter
        test ebx, ebx
        jnz .entry

.enter:
        mov ax, FW_ENTRY
        call fw_read_u32
        mov esi, eax
        mov ebx, ebp
        xor edx, edx
        mov dx, cs
        shl edx, 4              ; this ROM's linear address
        lea eax, [edx + gdt]
        mov word [ss:TEMP], gdt.end - gdt - 1
        mov [ss:TEMP + 2], eax
        cli
        o32 lgdt [ss:TEMP]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        lea eax, [edx + flat]
        push dword 8
        push eax
        o32 retf
.failed:
        mov si, message
        call print
.halt:
        hlt
        jmp .halt

%include "fw_dma.inc"

        bits 32
flat:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        mov ss, ax
        mov esp, 0x7c00
        mov eax, 0x2badb002
        jmp esi

        align 8
gdt:    dq 0
        dq 0x00cf9b000000ffff   ; code and data, flat, accessed already: ROM cannot be written
        dq 0x00cf93000000ffff
.end:
blobs:  dw 0x16, 0x17, 0x18     ; information structure
        dw 0x0a, 0x0b, 0x12     ; modules
        dw 0x07, 0x08, 0x11     ; image
.end:
message: db "Multiboot: reading the kernel from the host failed", 13, 10, 0

        times ROM_SIZE - ($ - $$) db 0
