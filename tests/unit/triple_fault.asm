; A boot sector that faults three times over at its first boot and ends the run at its second. What
; tells them apart is a byte of CMOS RAM, which a reset leaves alone.
        org     0x7c00
        bits    16

MARK    equ     0x6e            ; index of the byte
SEEN    equ     0xa5
EXIT    equ     0x501

        cli
        xor     ax, ax
        mov     ds, ax
        mov     al, MARK
        out     0x70, al
        in      al, 0x71
        cmp     al, SEEN
        je      second
        mov     al, MARK
        out     0x70, al
        mov     al, SEEN
        out     0x71, al
        lidt    [no_idt]
        int3                    ; no vector for it, for #GP, nor for #DF

second: mov     dx, EXIT
        mov     al, 0x15
        out     dx, al
        hlt

no_idt: dw      0
        dd      0

        times   510 - ($ - $$) db 0
        dw      0xaa55
